"""Look at the text around a cursor: its outline, the objections to a suggestion there, the context from other places.

Parsing and reading from disk are done on threads of ours, with frozen values; the event loop waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from lsprotocol import types

from palimpsest_engine import EngineStatus, Excerpt, Outline
from palimpsest_server.context import choose, ignore
from palimpsest_server.context.ignore import Ignore
from palimpsest_server.context.worker import Chooser, around
from palimpsest_server.context.workspace import Workspace
from palimpsest_server.documents.latest import Latest
from palimpsest_server.documents.rope import Text
from palimpsest_server.documents.store import Documents, Snapshot
from palimpsest_server.session import suppression
from palimpsest_server.settings import Settings

_P = ParamSpec("_P")
_T = TypeVar("_T")

_OUTLINES = 8
_SMALL = 16_384  # characters
_PATIENCE_SECONDS = 0.05  # context that takes longer to choose serves the next request


@dataclass(frozen=True, slots=True)
class _Held:
    """The excerpts for a line. place: the line, and everything else that decides on them but texts. contents: those."""

    place: tuple[object, ...]
    contents: tuple[Text, ...]
    excerpts: tuple[Excerpt, ...]


def _same(some: tuple[Text, ...], others: tuple[Text, ...]) -> bool:
    """Return whether these are the same objects."""
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


class Surroundings:
    """The surroundings of the documents of one session.

    diagnostics: those that the client sent with its last request for code actions or next edits, by document.
    """

    def __init__(self, documents: Documents) -> None:
        self.diagnostics: dict[str, tuple[types.Diagnostic, ...]] = {}
        self._diagnosed: dict[str, Text] = {}
        self._documents = documents
        self._worker = ThreadPoolExecutor(1, "palimpsest-outline")
        self._outlines = Latest[tuple[str, str], tuple[tuple[str, str], Outline]](_OUTLINES)
        self._chooser = Chooser()
        self._held = Latest[str, _Held](_OUTLINES)
        self.work_in({}, ())

    def work_in(self, folders: Mapping[str, Path], globs: tuple[str, ...]) -> None:
        """Take up the folders of the workspace; other files that a glob covers are not looked at."""
        self._held.clear()
        paths = tuple(folders.values())
        # Neither may be used by two threads at once: one is for the outline's thread, the other for the chooser's.
        self._ignore, self._chooser_ignore = Ignore(paths), Ignore(paths, extra_globs=globs)
        forbidden = self._chooser_ignore.reason
        self._workspace = Workspace([str(path) for path in paths], lambda path: forbidden(Path(path)))

    def diagnosed(self, document: Snapshot, diagnostics: tuple[types.Diagnostic, ...]) -> None:
        """Take up what a client says of the present text of a document."""
        self.diagnostics[document.uri], self._diagnosed[document.uri] = diagnostics, document.content

    def diagnostics_of(self, document: Snapshot) -> tuple[types.Diagnostic, ...]:
        """Return the diagnostics that are about the present text of a document; none once it was changed."""
        return self.diagnostics.get(document.uri, ()) if self._diagnosed.get(document.uri) is document.content else ()

    async def off_loop(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a call that could hold up the event loop on a thread of ours; it gets frozen values only."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, partial(call, *args, **kwargs))

    def outline(self, document: Snapshot, text: str, purpose: str = "") -> Outline:
        """Return the outline of (a window of) a document, to be asked off the event loop.

        It is made from the last one of the same purpose, which is cheap.
        """
        if len(text) <= _SMALL:
            purpose = ""
        key = (document.uri, purpose)
        of, previous = self._outlines.get(key, (None, None))
        if previous is None or of != (text, document.language):
            path = document.path
            previous = Outline(text, document.language or None, str(path) if path else None, previous)
        self._outlines[key] = (text, document.language), previous
        return previous

    async def objection(
        self, document: Snapshot, text: str, offset: int, settings: Settings, *, automatic: bool
    ) -> str:
        """Return why nothing is to be offered at an offset of (a window of) a document, or ""."""
        # Text far behind the cursor is of no use here, but after a quote that is typed here all of it would be parsed anew.
        seen = text if len(text) <= _SMALL else text[: offset + suppression.WINDOW]
        outline = self.outline(document, seen, "look")
        path, content = document.path, document.content

        def judge() -> str:
            spot = suppression.Spot(
                text[max(0, offset - suppression.WINDOW) : offset],
                text[offset : offset + suppression.WINDOW],
                content.slice(0, min(len(content), suppression.HEAD)),
                len(content),
                path.name if path else "",
                document.language,
                outline.kind_at(offset) if automatic else "code",
                automatic,
                settings.in_comments,
                self.forbidden(document, settings),
            )
            return suppression.reason(spot)

        return await self.off_loop(judge)

    def forbidden(self, document: Snapshot, settings: Settings) -> str:
        """Return why a document is not for the model, or "", to be asked off the event loop: it reads from disk."""
        path = document.path
        return (self.forbidden_path(path, settings) if path else "") or ignore.secret_in_uri(document.uri)

    def forbidden_path(self, path: Path, settings: Settings) -> str:
        """Return why a file is not for the model, or "", to be asked off the event loop."""
        for key, globs in (("ignore", settings.ignore), ("disabledFolders", settings.disabled_folders)):
            if glob := self._ignore.covering(globs, path):
                return f"palimpsest.{key} has {glob}"
        return self._ignore.reason(path)

    async def excerpts(
        self, document: Snapshot, offset: int, settings: Settings, engine: EngineStatus
    ) -> tuple[Excerpt, ...]:
        """Return the text of other places that the model may see for an offset of a document, the most useful last.

        While the user types on a line it stays the same, unless another document changes: it stands before everything else
        in the prompt, so each change of it has the model read the whole prompt again.
        """
        sources = choose.known(engine.sources if settings.context_sources is None else settings.context_sources)
        nearby = around(document, self._documents, self.diagnostics.get(document.uri, ()), settings.context_files)
        if not sources and not nearby.cells:
            return ()
        contents = tuple(each.content for each in (*nearby.others, *nearby.cells))
        place = document.content.line_at(offset), sources, engine.elsewhere, settings.context_files
        held = self._held.get(document.uri)
        if held and held.place == place and _same(held.contents, contents):
            return held.excerpts
        question = choose.Question(
            choose.Document.of(document),
            offset,
            self._workspace,
            sources,
            nearby,
            choose.Limits(engine.elsewhere, settings.context_files),
            forbidden=self._chooser_ignore.reason_of,
            secret=ignore.looks_secret,
            redacted=ignore.redacted,
        )
        chosen = await self._chooser.choose(question, _PATIENCE_SECONDS)
        excerpts = chosen.excerpts
        if excerpts and not chosen.older:  # nothing may also mean: not yet
            self._held[document.uri] = _Held(place, contents, excerpts)
        return excerpts

    def forget(self, uri: str) -> None:
        """Forget a document, which was closed."""
        self.diagnostics.pop(uri, None)
        self._diagnosed.pop(uri, None)
        for purpose in ("", "look"):
            self._outlines.pop((uri, purpose), None)
        self._chooser.forget(uri)
        self._held.pop(uri, None)

    def close(self) -> None:
        """End the threads; does not wait."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._chooser.close()
