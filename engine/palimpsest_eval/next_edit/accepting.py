"""Accept an edit: the documents and the changes afterwards, as an editor and the server would have them."""

from __future__ import annotations

import io
from collections.abc import Iterator
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
    moved = tuple(_moved(changes, made))
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


def _moved(changes: tuple[Change, ...], made: Change) -> Iterator[Change]:
    """Yield the changes as they stand after a newer one. One that the newer one lies in has its text."""
    start, grown = made.start or 0, len(made.after) - len(made.before)
    end = start + len(made.before)
    for change in changes:
        if change.document != made.document or change.start is None or change.start + len(change.after) <= start:
            yield change
        elif end <= change.start:
            yield replace(change, start=change.start + grown)
        elif change.start <= start and end <= change.start + len(change.after):
            at = start - change.start
            after = change.after[:at] + made.after + change.after[at + len(made.before) :]
            yield replace(change, after=after)
        else:
            yield replace(change, start=None)
