"""Write a test for the selected code, at the end of the file that its tests belong into; that file need not be open."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lsprotocol import types

from palimpsest_engine import Excerpt, FillRequest, Span
from palimpsest_server.context.ignore import looks_secret
from palimpsest_server.context.workspace import FILE_BYTES, Workspace
from palimpsest_server.documents import edits
from palimpsest_server.documents.rope import Text
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions import capabilities
from palimpsest_server.features.code_actions.catalog import RUNNABLE
from palimpsest_server.features.code_actions.explain import outcome
from palimpsest_server.features.code_actions.files_of_tests import HABITS, file_of_tests, holds_tests
from palimpsest_server.features.code_actions.target import Target, document_of
from palimpsest_server.features.code_actions.work import Done, Work, look, start
from palimpsest_server.features.code_actions.workspace_edit import appended, apply
from palimpsest_server.server import Server
from palimpsest_server.session import jobs
from palimpsest_server.session.permission import ban
from palimpsest_server.session.session import Session

NO_FILE = "only a file in a folder of the workspace has a file of tests"
NO_HABIT = "it is not known where tests are in this language"
TESTS_ITSELF = "this is a file of tests itself"
CANNOT_CREATE = "there is no file of tests yet, and the client does not create files"
CHANGED = "the file of tests was changed meanwhile"
NOTHING = "the model wrote nothing"
_WITH = {"python": " with pytest", "go": " with the package testing", "java": " with JUnit", "php": " with PHPUnit"}


@dataclass(frozen=True, slots=True)
class Tests:
    """The file of tests. name, source: its path in the workspace, and that of the file that is tested.

    text: as the editor has it, or else the disk; "" if it is `new`. document: the file, if it is open.
    """

    path: Path
    name: str
    source: str
    text: str
    new: bool
    document: Snapshot | None = None

    @property
    def uri(self) -> str:
        """Return its URI, as the client spells it if the file is open."""
        return self.document.uri if self.document else self.path.as_uri()

    @property
    def version(self) -> int | None:
        """Return its version; None if it is not open."""
        return self.document.version if self.document else None


async def write_test(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Write a test at the end of the file of tests, which is made if there is none. Raises Refused."""
    session = server.session
    document = document_of(session, target)
    tests = await tests_of(session, document)
    if tests.new and not capabilities.creates(server.client_capabilities):
        raise jobs.Refused(CANNOT_CREATE)
    gap = gap_before(document.language, tests.text)

    async def prepare(session: Session, work: Work) -> FillRequest:
        scene = await look(session, work)
        [selected] = work.holes
        end = len(tests.text) + len(gap)
        return FillRequest(
            tests.text + gap,
            (Span(end, end),),
            document=document.uri,
            language=document.language,
            path=tests.name,
            seed=session.settings_for(document).seed,
            # A model of half a billion parameters that was shown the file of tests, too, wrote that once more.
            context=(Excerpt(tests.source, scene.text[selected.start : selected.end]),),
            edit=True,
            instruction=f"Write a test for this code{_WITH.get(document.language, '')}.",
            task=work.action.task,
        )

    if reason := session.moved_on(document):
        raise jobs.Refused(reason)
    work = start(session, Work(RUNNABLE[target.action], document, target), prepare)
    [text] = await outcome(server, work, token)
    if not text.strip():
        raise jobs.Refused(NOTHING)
    before, tests = tests, await tests_of(session, document)
    if (before.path, before.text, before.new) != (tests.path, tests.text, tests.new):
        raise jobs.Refused(CHANGED)
    end = len(tests.text)
    where = Text.of(tests.text).range_at(end, end, session.documents.encoding)
    written = edits.with_line_ends_of(tests.text, gap + text.strip("\r\n") + "\n")
    change = appended(tests.uri, tests.version, where, written, server.client_capabilities, new=tests.new)
    reason = await apply(server, change, work.title)
    return Done(reason, 1, int(not reason), more={"uri": None if reason else tests.uri})


async def tests_of(session: Session, document: Snapshot) -> Tests:
    """Return the file of tests of a document as it is now. Raises Refused."""
    settings = session.settings_for(document)

    def forbidden(path: str) -> str:
        return session.surroundings.forbidden_path(Path(path), settings)

    folders = tuple(session.folders.values())
    tests = await session.surroundings.off_loop(on_disk, document, folders, forbidden)
    opened = session.documents.snapshot(tests.path.as_uri())
    if opened is None:
        return tests
    if reason := ban(session, opened):
        raise jobs.Refused(f"{tests.name} is not touched: {reason}")
    return replace(tests, text=opened.text, new=False, document=opened)


def on_disk(document: Snapshot, folders: tuple[Path, ...], forbidden: Callable[[str], str]) -> Tests:
    """Return the file of tests of a document as the disk has it. forbidden: says why a path may not be touched, or "".

    Raises Refused. Nothing outside of the folders is looked at.
    """
    path, language = document.path, document.language
    around = [folder for folder in folders if path and path.is_relative_to(folder)]
    if path is None or not around or "#" in document.uri:
        raise jobs.Refused(NO_FILE)
    folder = max(around, key=lambda each: len(each.parts))
    source = path.relative_to(folder).as_posix()
    if language not in HABITS:
        raise jobs.Refused(NO_HABIT)
    if holds_tests(source, language):
        raise jobs.Refused(TESTS_ITSELF)

    def exists(inner: str) -> bool:
        return os.path.isdir(folder / inner) if inner.endswith("/") else os.path.lexists(folder / inner)

    found = file_of_tests(source, language, exists)
    assert found is not None, "the language has habits"
    name, new = found
    whole = folder / name
    if reason := forbidden(str(whole)):
        raise jobs.Refused(f"{name} is not touched: {reason}")
    if new:
        return Tests(whole, name, source, "", new)
    looked = Workspace([str(each) for each in folders], forbidden).look(str(whole))
    size = os.path.getsize(whole) if not looked.refusal else 0
    large = "it is too large" if size > FILE_BYTES else ""
    if reason := looked.refusal or large or ("it holds secrets" if looks_secret(looked.text) else ""):
        raise jobs.Refused(f"{name} is not touched: {reason}")
    return Tests(whole, name, source, looked.text, new)


def gap_before(language: str, text: str) -> str:
    """Return what has to stand between a text and code behind it."""
    if not text.strip():
        return ""
    bare = text.replace("\r\n", "\n")
    return "\n" * max(0, (3 if language == "python" else 2) - (len(bare) - len(bare.rstrip("\n"))))
