"""Mend what a change has just broken: a slip of the fingers in the line that was good before."""

from __future__ import annotations

from collections.abc import Iterator

from palimpsest_engine.changes import NextEdit
from palimpsest_engine.request import Span
from palimpsest_engine.syntax.mending import Mend, Mender
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene, token_text
from palimpsest_engine.syntax.slips import distance

_LONGEST = 65_536  # characters of a text that is searched
_LETTERS = 2  # that were put into a keyword, or taken from it


def mends(scene: Scene) -> Iterator[NextEdit]:
    """Yield the one small edit that mends what the newest change broke, if the parsers prove one."""
    for changed in scene.changes[:1]:
        if changed.change is not scene.question.changes[0] or not _is_worse(changed):
            continue
        document = next(each for each in scene.question.documents if each.name == changed.change.document)
        if len(document.text) > _LONGEST:
            return
        within = Span(changed.start, changed.start + len(changed.change.after))
        mend = Mender(document.text, document.language, document.path).mend(within) or _keyword(changed)
        if mend is None or not (within.start <= mend.span.start and mend.span.end <= within.end):
            return
        if not _is_being_typed(scene, changed, mend.span):
            yield NextEdit(document.name, mend.span, mend.text, "mend", "this was just broken", "likely")


def _keyword(changed: Changed) -> Mend | None:
    """Return the keyword that stood there, if the change spoilt it and it alone."""
    if len(changed.hunks) != 1 or len(changed.hunks[0].was) != 1 or len(changed.hunks[0].now) != 1:
        return None
    (was,), (now,) = changed.hunks[0].was, changed.hunks[0].now
    one, other = token_text(changed.was, was), token_text(changed.now, now)
    if was.is_named or not one.isalpha() or distance(other, one, _LETTERS) is None:
        return None
    return Mend(changed.now.span((now.start_byte, now.end_byte)), one)


def _is_worse(changed: Changed) -> bool:
    """Return whether the lines were sound, and are not any more."""
    was, now = changed.was.tree, changed.now.tree
    if was is None or now is None or not now.root_node.has_error:
        return False
    if was.root_node.has_error:
        return False
    return bool(changed.change.before.strip())


def _is_being_typed(scene: Scene, changed: Changed, span: Span) -> bool:
    """Return whether the cursor is still in the word that would be mended: it may be half a word."""
    text, cursor = scene.documents[changed.change.document].text, scene.question.cursor
    if changed.change.document != scene.here:
        return False
    start, end = span.start, span.end
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    return start < cursor <= end
