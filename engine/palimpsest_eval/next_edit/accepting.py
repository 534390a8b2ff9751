"""Accept an edit: the documents and the changes afterwards, as an editor and the server would have them."""

from __future__ import annotations

import io
from dataclasses import replace
from difflib import SequenceMatcher

from palimpsest_engine import Span
from palimpsest_engine.changes import Change, OpenDocument


def with_edit(
    documents: tuple[OpenDocument, ...], changes: tuple[Change, ...], name: str, span: Span, text: str
) -> tuple[tuple[OpenDocument, ...], tuple[Change, ...], int]:
    """Return the documents (the edited one first), the changes (the new one first) and the place after what is new."""
    edited = next(each for each in documents if each.name == name)
    now = edited.text[: span.start] + text + edited.text[span.end :]
    made = change_between(name, edited.text, now)
    moved = (_moved(each, span, text) if each.document == name else each for each in changes)
    documents = (replace(edited, text=now), *(each for each in documents if each.name != name))
    return documents, (made, *moved), span.start + len(text)


def change_between(name: str, was: str, now: str) -> Change:
    """Return the change that makes one text of another, in whole lines."""
    old, new = (list(io.StringIO(text, newline="")) for text in (was, now))  # lines end as in the protocol
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    different = [each for each in blocks if each[0] != "equal"]
    if not different:
        return Change(name, 0, "", "")
    (_, i, _, k, _), (_, _, j, _, m) = different[0], different[-1]
    return Change(name, len("".join(new[:k])), "".join(old[i:j]), "".join(new[k:m]))


def _moved(change: Change, span: Span, text: str) -> Change:
    """Return a change as it stands after an edit. As with the server, what is edited beside it on its lines was always so."""
    if change.start is None or span.start >= change.start + len(change.after):
        return change
    if span.end < change.start or (span.end == change.start and text.endswith("\n")):
        return replace(change, start=change.start + len(text) - (span.end - span.start))
    start, end = span.start - change.start, span.end - change.start
    if start < 0 or end > len(change.after):
        return replace(change, start=None)
    before, after = change.before, change.after
    head, tail = common_ends(before, after)
    if end <= head:
        before = before[:start] + text + before[end:]
    elif start >= len(after) - tail:
        shorter = len(before) - len(after)
        before = before[: start + shorter] + text + before[end + shorter :]
    return replace(change, before=before, after=after[:start] + text + after[end:])


def common_ends(one: str, other: str) -> tuple[int, int]:
    """Return how many characters both texts begin with, and with how many of the others they end."""
    least = min(len(one), len(other))
    head = next((at for at in range(least) if one[at] != other[at]), least)
    most = least - head
    return head, next((at for at in range(most) if one[-1 - at] != other[-1 - at]), most)
