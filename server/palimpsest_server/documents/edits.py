"""Make the smallest edit of a document out of a fill; text and offsets only, nothing of LSP or engines."""

from __future__ import annotations

from dataclasses import dataclass

from palimpsest_engine import Span
from palimpsest_server.documents.rope import Text


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `span` (code points of the old text) by `text`."""

    span: Span
    text: str


def smallest(text: str | Text, hole: Span, new: str) -> Edit | None:
    """Return the smallest edit that makes the hole read `new`; None if it does already.

    Marks, cursors and blame outside the changed characters stay in their places. A `\\r\\n` is never split,
    because no position lies between its two characters.
    """
    old = text[hole.start : hole.end] if isinstance(text, str) else text.slice(hole.start, hole.end)
    if old == new:
        return None
    head = _common(old, new)
    while head and old[head - 1] == "\r":
        head -= 1
    tail = _common(old[head:][::-1], new[head:][::-1])
    if tail and old[len(old) - tail] == "\n" and _before(old, tail) + _before(new, tail) != "":
        tail -= 1
    return Edit(Span(hole.start + head, hole.end - tail), new[head : len(new) - tail])


def _common(one: str, other: str) -> int:
    """Count the characters that both begin with."""
    same, at_most = 0, min(len(one), len(other))
    while same < at_most:
        half = (same + at_most + 1) // 2
        if one[same:half] == other[same:half]:
            same = half
        else:
            at_most = half - 1
    return same


def _before(text: str, tail: int) -> str:
    """Return the carriage return in front of the last `tail` characters, or ""."""
    return "\r" if text.endswith("\r", 0, len(text) - tail) else ""


def with_line_ends_of(text: str, new: str) -> str:
    """Give `new` the line ends of `text`, of which a piece is enough: models write `\\n`, a document may have `\\r\\n`."""
    first = text.find("\n")
    if first > 0 and text[first - 1] == "\r":
        return new.replace("\r\n", "\n").replace("\n", "\r\n")
    return new
