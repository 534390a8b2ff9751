"""Answer a question: ask each finder, rank what it found, and judge that by the syntax gate.

A finder yields edits that syntax decides, and places for a model. It looks at a `Scene` and knows no other finder
(only `elsewhere.py` uses two, for their rules).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from palimpsest_engine.changes import NOTHING_FOLLOWS, FollowUps, NextEdit, NextEditQuestion, Place
from palimpsest_engine.syntax.gate import SyntaxGate
from palimpsest_engine.syntax.next_edit import silence
from palimpsest_engine.syntax.next_edit.arguments import arguments
from palimpsest_engine.syntax.next_edit.attributes import attributes
from palimpsest_engine.syntax.next_edit.awaits import awaits
from palimpsest_engine.syntax.next_edit.broken import mends
from palimpsest_engine.syntax.next_edit.declarations import declarations
from palimpsest_engine.syntax.next_edit.diagnosed import backed, diagnosed, is_diagnosed
from palimpsest_engine.syntax.next_edit.elsewhere import elsewhere
from palimpsest_engine.syntax.next_edit.fields import fields
from palimpsest_engine.syntax.next_edit.imports import imports
from palimpsest_engine.syntax.next_edit.members import members
from palimpsest_engine.syntax.next_edit.rename import rename
from palimpsest_engine.syntax.next_edit.scene import Scene
from palimpsest_engine.syntax.next_edit.siblings import siblings

Found = NextEdit | Place
Finder = Callable[[Scene], Iterator[Found]]

# Those that cost least, and find what is surest, come first: the time is short.
FINDERS: tuple[Finder, ...] = (
    diagnosed,
    rename,
    attributes,
    fields,
    declarations,
    elsewhere,
    arguments,
    awaits,
    imports,
    members,
    siblings,
)
IN_UNFINISHED: tuple[Finder, ...] = (mends,)

_MOST = 8  # edits that are judged
_NEAR = 1024  # bytes around an edit that are compared: each of them is judged alone
_ABOVE = 3  # times as far away is what stands above the cursor: people read on downwards
_CERTAIN = {"sure": 0, "likely": 1, "possible": 2}


def follow_ups(question: NextEditQuestion, finders: Sequence[Finder] = ()) -> FollowUps:
    """Return what follows from the changes, ranked; finders: others than the usual ones.

    No two edits overlap, none changes nothing, and none breaks the syntax of its document or undoes one of the changes.
    """
    if not question.changes:
        return FollowUps(reason="nothing was changed yet")
    if silence.is_undo(question.changes):
        return FollowUps(reason=silence.UNDONE)
    question = replace(question, changes=silence.telling(question.changes))
    if not question.changes:
        return FollowUps(reason=silence.BLANKS)
    scene = Scene(question)
    unfinished = silence.is_unfinished(scene)
    # From here on: the first question about a language also reads its grammar. Processor time: others use the machine, too.
    deadline = time.thread_time() + question.budget_ms / 1000
    edits, places = list[NextEdit](), list[Place]()
    for finder in finders or (IN_UNFINISHED if unfinished else FINDERS):
        for found in finder(scene):
            edits.append(found) if isinstance(found, NextEdit) else places.append(found)
            if time.thread_time() > deadline:
                break
        if time.thread_time() > deadline:
            break
    edits = [backed(scene, silence.doubted(scene, each)) for each in dict.fromkeys(edits)]
    kept = tuple(_judged(scene, sorted(edits, key=lambda each: _rank(scene, each)), deadline))
    ranked = tuple(sorted(dict.fromkeys(places), key=lambda each: _rank(scene, each)))
    return FollowUps(kept, ranked, "" if kept else _nothing(scene, unfinished=unfinished))


def _judged(scene: Scene, edits: list[NextEdit], deadline: float) -> Iterator[NextEdit]:
    """Yield the sound ones, none of which overlaps one before it: at least the first, and more while there is time."""
    kept, gates = list[NextEdit](), 0
    for edit in edits:
        if gates and (gates == _MOST or time.thread_time() > deadline):
            return
        if silence.is_pointless(scene, edit) or any(_overlap(edit, other) for other in kept):
            continue
        gates += 1
        if _is_sound(scene, edit):
            kept.append(edit)
            yield edit


def _nothing(scene: Scene, *, unfinished: bool) -> str:
    if unfinished:
        return silence.UNFINISHED
    return NOTHING_FOLLOWS if scene.changes else "nothing that was changed still stands there"


def _rank(scene: Scene, found: Found) -> tuple[bool, int, bool, bool, int]:
    """Return the order: what completes the lines at hand, certain ones, those on lines with a diagnostic, those in the
    document with the cursor, near ones."""
    elsewhere = found.document != scene.here
    far = found.span.start - scene.question.cursor
    at_hand = found.certainty != "possible" and any(
        each.change.document == found.document
        and each.start <= found.span.start
        and found.span.end <= each.start + len(each.change.after)
        for each in scene.changes[:1]
    )
    near = found.span.start if elsewhere else far if far >= 0 else -far * _ABOVE
    return not at_hand, _CERTAIN[found.certainty], not is_diagnosed(scene, found), elsewhere, near


def _overlap(one: NextEdit, other: NextEdit) -> bool:
    if one.document != other.document:
        return False
    return one.span == other.span or (one.span.start < other.span.end and other.span.start < one.span.end)


def _is_sound(scene: Scene, edit: NextEdit) -> bool:
    """Return whether an edit leaves the syntax no worse."""
    parsed = scene.documents[edit.document]
    tree = parsed.tree
    known = tree if tree is not None and not tree.root_node.has_error else None
    gate = SyntaxGate(parsed.text, (edit.span,), parsed.grammar or None, tree=known, near=_NEAR)
    return gate.judge((edit.text,)).status != "worse"
