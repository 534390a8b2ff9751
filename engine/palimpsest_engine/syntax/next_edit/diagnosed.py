"""Use what the tools of a language say: a name that is not known any more, and lines with which something is wrong.

Messages are sentences for people in many wordings: they are searched for the name that they are about, and for a few words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from palimpsest_engine.changes import Diagnostic, NextEdit, Place
from palimpsest_engine.request import Span
from palimpsest_engine.syntax.next_edit.renamed import renamed_pairs
from palimpsest_engine.syntax.next_edit.scene import Scene

_UNKNOWN = re.compile(
    r"undefined|undeclared|unresolved|unknown|not (?:defined|declared|found|known)|cannot find|can't find|"
    r"does not exist|has no (?:\w+ )?(?:attribute|member|field|method)|no (?:attribute|member|field|method|value|such)",
    re.IGNORECASE,
)
_BACKED = ("rename", "argument", "import")


def diagnosed(scene: Scene) -> Iterator[NextEdit]:
    """Yield the names that are not known any more, at the very places where that is said, if a change renamed them."""
    if not scene.question.diagnostics:
        return
    news = dict[str, set[str]]()
    for changed in scene.changes:
        for old, new in renamed_pairs(changed):
            news.setdefault(old, set()).add(new)
    for each in scene.question.diagnostics:
        if each.document in scene.documents and _UNKNOWN.search(each.message):
            for old, names in news.items():
                place = _place_of(old, each, scene) if len(names) == 1 else None
                if place is not None:
                    reason = f"`{old}` is not known here any more"
                    yield NextEdit(each.document, place, next(iter(names)), "rename", reason, "likely")


def is_diagnosed(scene: Scene, found: NextEdit | Place) -> bool:
    """Return whether something is said of a line of a place."""
    return any(_is_beside(scene, found, each) for each in scene.question.diagnostics)


def backed(scene: Scene, edit: NextEdit) -> NextEdit:
    """Return a mere possibility as likely, if the tools say of its line that something is wrong with just that name."""
    if edit.certainty != "possible" or edit.kind not in _BACKED:
        return edit
    old = scene.documents[edit.document].text[edit.span.start : edit.span.end].strip()
    said = [each.message for each in scene.question.diagnostics if _is_beside(scene, edit, each)]
    return replace(edit, certainty="likely") if old and any(_names(message, old) for message in said) else edit


def _is_beside(scene: Scene, found: NextEdit | Place, diagnostic: Diagnostic) -> bool:
    if diagnostic.document != found.document:
        return False
    text = scene.documents[found.document].text
    start = text.rfind("\n", 0, found.span.start) + 1
    end = text.find("\n", found.span.end)
    return start <= diagnostic.span.start and (end < 0 or diagnostic.span.start <= end)


def _place_of(name: str, diagnostic: Diagnostic, scene: Scene) -> Span | None:
    """Return where a name stands in what a diagnostic is about, if it names it and has it once."""
    start, end = diagnostic.span.start, diagnostic.span.end
    text = scene.documents[diagnostic.document].text[start:end]
    found = [match.start() for match in re.finditer(_whole(name), text)]
    if len(found) != 1 or not _names(diagnostic.message, name):
        return None
    return Span(start + found[0], start + found[0] + len(name))


def _names(message: str, name: str) -> bool:
    return re.search(_whole(name), message) is not None


def _whole(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"
