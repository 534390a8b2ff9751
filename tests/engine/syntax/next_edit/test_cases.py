"""The cases of `fixtures/next-edit-syntax`: what follows from a change by syntax alone, and nothing else."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.next_edit.attributes import attributes
from palimpsest_engine.syntax.next_edit.declarations import declarations
from palimpsest_engine.syntax.next_edit.elsewhere import elsewhere
from palimpsest_engine.syntax.next_edit.fields import fields
from palimpsest_engine.syntax.next_edit.follow_up import FINDERS
from palimpsest_engine.syntax.next_edit.imports import imports
from palimpsest_engine.syntax.next_edit.rename import rename
from palimpsest_engine.syntax.next_edit.scene import Scene

_FIXTURES = Path(__file__).parents[4] / "fixtures" / "next-edit-syntax"
_MARK = re.compile(
    r"\[(?P<old>[^\[\]|\n]*)\|(?P<new>[^\[\]|]*)\]|«(?P<sure>[^»]*)»|‹(?P<likely>[^›]*)›|⟦(?P<possible>[^⟧]*)⟧"
)
_EXTENSIONS = {"python": "py", "typescript": "ts", "javascript": "js", "rust": "rs", "csharp": "cs", "kotlin": "kt"}


def cases() -> list[object]:
    return [
        pytest.param(path.stem, case["text"], id=f"{path.stem}: {case['name']}")
        for path in sorted(_FIXTURES.glob("*.toml"))
        for case in tomllib.loads(path.read_text("utf-8"))["case"]
    ]


def read(path: str, marked: str, new: str) -> tuple[str, list[Change], list[tuple[str, int, int, str, str]]]:
    """Return a document's text, its changes, and the edits that are expected in it."""
    text, at, changes, edits = "", 0, [], []
    for match in _MARK.finditer(marked):
        text += marked[at : match.start()]
        at = match.end()
        if match["old"] is not None:
            changes.append((len(text), match["old"], match["new"]))
            text += match["new"]
        else:
            certainty = next(each for each in ("sure", "likely", "possible") if match[each] is not None)
            was, given, becomes = match[certainty].partition("|")
            edits.append((path, len(text), len(text) + len(was), becomes if given else new, certainty))
            text += was
    text += marked[at:]
    return text, [_lines(path, text, *change) for change in changes], edits


def _lines(path: str, text: str, at: int, old: str, new: str) -> Change:
    start, end = text.rfind("\n", 0, at) + 1, at + len(new)
    if not new.endswith("\n"):
        end = text.index("\n", end) + 1
    return Change(path, start, text[start:at] + old + text[at + len(new) : end], text[start:end])


@pytest.mark.parametrize(("language", "text"), cases())
def test_just_this_follows(language: str, text: str) -> None:
    first = f"shop/orders.{_EXTENSIONS.get(language, language)}"
    parts = re.split(r"^--- (.+)\n", text.removeprefix("\n"), flags=re.M)
    sources = dict(zip([first, *parts[1::2]], parts[::2], strict=True))
    if not parts[0]:
        del sources[first]
    new = next((match["new"] for match in _MARK.finditer(text) if match["new"] is not None), "")
    documents, changes, expected = [], list[Change](), Counter[tuple[str, int, int, str, str]]()
    for path, marked in sources.items():
        body, made, edits = read(path, marked, new)
        alike = PurePosixPath(path).suffix == PurePosixPath(first).suffix
        documents.append(OpenDocument(path, body, language if alike else None, path))
        changes += made
        expected.update(edits)
    scene = Scene(NextEditQuestion(tuple(documents), tuple(changes), 0, budget_ms=60_000))
    found = {
        edit for finder in (rename, attributes, fields, declarations, elsewhere, imports) for edit in finder(scene)
    }
    seen = Counter((each.document, each.span.start, each.span.end, each.text, each.certainty) for each in found)
    assert seen == expected


def test_the_finders_are_asked() -> None:
    assert {rename, attributes, fields, declarations, elsewhere, imports} <= set(FINDERS)
