"""Say when nothing is to be offered after a change, and which edits never are: rules that texts and trees alone decide."""

from __future__ import annotations

from dataclasses import replace

from palimpsest_engine.changes import Change, NextEdit
from palimpsest_engine.syntax.defects import defects_of
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene, token_text
from palimpsest_engine.syntax.tree import Parsed, Range

UNDONE = "the last change was undone"
UNFINISHED = "the statement is not finished"
BLANKS = "only white space was changed"


def telling(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return the changes that something may follow from: those of more than white space."""
    return tuple(each for each in changes if _bare(each.before) != _bare(each.after))


def is_undo(changes: tuple[Change, ...]) -> bool:
    """Return whether the newest change takes back one of the others."""
    newest, *older = changes
    return any(
        (each.document, each.before, each.after) == (newest.document, newest.after, newest.before) for each in older
    )


def is_unfinished(scene: Scene) -> bool:
    """Return whether the newest change broke the syntax where it is."""
    newest = next((each for each in scene.changes if each.change == scene.question.changes[0]), None)
    if newest is None or newest.now.tree is None or not newest.now.tree.root_node.has_error:
        return False
    return _is_broken(newest.now, newest.now_range) and not _is_broken(newest.was, newest.was_range)


def is_pointless(scene: Scene, edit: NextEdit) -> bool:
    """Return whether an edit changes nothing but white space, takes back a change, or puts what stands there twice."""
    parsed = scene.documents[edit.document]
    old = parsed.text[edit.span.start : edit.span.end]
    if old == edit.text or (_bare(old) == _bare(edit.text) and _bare(old)):
        return True
    if edit.kind == "sibling" and _doubles(parsed.text, edit):
        return True
    return edit.kind != "mend" and any(_takes_back(each, edit) for each in scene.changes if each.now is parsed)


def _doubles(text: str, edit: NextEdit) -> bool:
    """Return whether an edit puts around a text, or behind it, what is there already: `f(f(x))`, `A | None | None`."""
    start, end = edit.span.start, edit.span.end
    old = text[start:end]
    if old and old in edit.text:
        before, _, after = (_bare(each) for each in edit.text.partition(old))
        inner = _bare(old)
        is_word = (before + after).replace("_", "").isalnum()
        return bool(before or after) and not is_word and inner.startswith(before) and inner.endswith(after)
    line = text.find("\n", end)
    rest = _bare(text[end : len(text) if line < 0 else line])
    return not old and len(_bare(edit.text)) > 1 and "\n" not in edit.text and rest.startswith(_bare(edit.text))


def doubted(scene: Scene, edit: NextEdit) -> NextEdit:
    """Return a renaming as a mere possibility if the change that it follows did more than replace that name.

    On the history of repositories one in four of these was made; the others were rewritten, or imported from elsewhere.
    """
    if edit.kind != "rename" or edit.certainty == "possible":
        return edit
    parsed = scene.documents[edit.document]
    pair = parsed.text[edit.span.start : edit.span.end], edit.text
    made = [pairs for each in scene.changes if pair in (pairs := _replaced(each))]
    is_plain = not made or any(pairs == {pair} for pairs in made)
    return edit if is_plain else replace(edit, certainty="possible")


def _replaced(changed: Changed) -> set[tuple[str, str]]:
    """Return which tokens became which."""
    return {
        (
            " ".join(token_text(changed.was, each) for each in hunk.was),
            " ".join(token_text(changed.now, each) for each in hunk.now),
        )
        for hunk in changed.hunks
    }


def _takes_back(changed: Changed, edit: NextEdit) -> bool:
    """Return whether an edit restores the lines of a change, or puts a text back that it took away."""
    start, end = changed.start, changed.start + len(changed.change.after)
    if not (start <= edit.span.start and edit.span.end <= end):
        return False
    before, after = changed.change.before, changed.change.after
    restored = after[: edit.span.start - start] + edit.text + after[edit.span.end - start :]
    if _bare(restored) == _bare(before):
        return True
    text = edit.text.strip()
    return bool(text) and text in before and text not in after


def _is_broken(parsed: Parsed, within: Range) -> bool:
    if parsed.tree is None:
        return False
    start, end = within[0], max(within[1], within[0] + 1)
    return any(
        defect.range[0] < end and start <= defect.range[1] for defect in defects_of(parsed.tree.root_node, lambda: None)
    )


def _bare(text: str) -> str:
    return "".join(text.split())
