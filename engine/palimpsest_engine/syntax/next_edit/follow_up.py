"""Answer a question: ask each finder, judge what it found by the syntax gate, and rank the rest.

A finder yields edits that syntax decides, and places for a model. It looks at a `Scene` and knows no other finder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from palimpsest_engine.changes import FollowUps, NextEdit, NextEditQuestion, Place
from palimpsest_engine.syntax.gate import SyntaxGate
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.next_edit.arguments import arguments
from palimpsest_engine.syntax.next_edit.awaits import awaits
from palimpsest_engine.syntax.next_edit.scene import Scene
from palimpsest_engine.syntax.next_edit.siblings import siblings

Found = NextEdit | Place
Finder = Callable[[Scene], Iterator[Found]]

FINDERS: tuple[Finder, ...] = (
    arguments,
    awaits,
    siblings,
)

_MOST = 20  # edits that are judged
_CERTAIN = {"sure": 0, "likely": 1, "possible": 2}


def follow_ups(question: NextEditQuestion, finders: Sequence[Finder] = ()) -> FollowUps:
    """Return what follows from the changes, ranked; finders: others than the usual ones.

    No two edits overlap, none changes nothing, and none breaks the syntax of its document or undoes one of the changes.
    """
    scene = Scene(question)
    if not question.changes:
        return FollowUps(reason="nothing was changed yet")
    deadline = time.perf_counter() + question.budget_ms / 1000
    edits, places = list[NextEdit](), list[Place]()
    for finder in finders or FINDERS:
        for found in finder(scene):
            edits.append(found) if isinstance(found, NextEdit) else places.append(found)
        if time.perf_counter() > deadline:
            break
    edits.sort(key=lambda each: _rank(scene, each))
    kept = list[NextEdit]()
    for edit in edits[:_MOST]:
        if not any(_overlap(edit, other) for other in kept) and _is_sound(scene, edit):
            kept.append(edit)
    places = sorted(dict.fromkeys(places), key=lambda each: _rank(scene, each))
    return FollowUps(tuple(kept), tuple(places), "" if kept else _nothing(scene))


def _nothing(scene: Scene) -> str:
    return "nothing follows from the last change" if scene.changes else "nothing that was changed still stands there"


def _rank(scene: Scene, found: Found) -> tuple[int, int, int]:
    """Return the order: certain ones, then those in the document with the cursor, then those near to it."""
    here = found.document == scene.here
    return _CERTAIN[found.certainty], 0 if here else 1, abs(found.span.start - scene.question.cursor) if here else 0


def _overlap(one: NextEdit, other: NextEdit) -> bool:
    if one.document != other.document:
        return False
    return one.span == other.span or (one.span.start < other.span.end and other.span.start < one.span.end)


def _is_sound(scene: Scene, edit: NextEdit) -> bool:
    """Return whether an edit changes something, leaves the syntax no worse and undoes no change."""
    parsed = scene.documents[edit.document]
    text = parsed.text
    if text[edit.span.start : edit.span.end] == edit.text:
        return False
    after = text[: edit.span.start] + edit.text + text[edit.span.end :]
    if any(changed.now is parsed and changed.was.text == after for changed in scene.changes):
        return False
    document = next(each for each in scene.question.documents if each.name == edit.document)
    gate = SyntaxGate(text, (edit.span,), language_of(document.path, document.language))
    return gate.judge((edit.text,)).status != "worse"
