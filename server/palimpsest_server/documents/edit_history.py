"""Keep the last few edits, as lines before and after; typing in one place counts as one edit. Knows texts alone.

A change costs a few integers. Only the edit under way keeps an older text.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from palimpsest_server.documents.rope import Text

LARGEST = 2000  # characters before or after; more are a paste or a generated text
_NEAR = 200  # characters between two changes that are one edit still
_KEPT = 16


@dataclass(frozen=True, slots=True)
class RecentEdit:
    """Lines that were edited: whole lines, or only the changed part of a line that is too long.

    first, last: the lines of `after`, from 0, in the text right after the edit. before, after: at most
    `LARGEST` characters each, and not the same.
    """

    uri: str
    first: int
    last: int
    before: str
    after: str


@dataclass(slots=True)
class _Growing:
    """The edit under way: `[start, old_end)` of `old` has become `[start, new_end)` of `new`."""

    uri: str
    old: Text
    new: Text
    start: int
    old_end: int
    new_end: int

    def grown(self, start: int, end: int, length: int, new: Text) -> bool:
        """Take a change of `new` in: `[start, end)` has become `length` characters. Returns False if it is another edit."""
        if end < self.start - _NEAR or start > self.new_end + _NEAR:
            return False
        first, behind = min(start, self.start), max(end - self.new_end, 0)
        old_end, new_end = self.old_end + behind, self.new_end + behind + length - (end - start)
        if max(old_end, new_end) - first > LARGEST:
            return False
        self.start, self.old_end, self.new_end, self.new = first, old_end, new_end, new
        return True

    def told(self) -> RecentEdit | None:
        """Return the edit in whole lines, if those are not too long; None if it changed nothing."""
        start, old_end, new_end = self.start, self.old_end, self.new_end
        head = start - self.new.line_around(start)[0]
        tail = self.new.line_around(new_end)[1] - new_end
        if head + tail + max(old_end, new_end) - start <= LARGEST:
            start, old_end, new_end = start - head, old_end + tail, new_end + tail
        before, after = self.old.slice(start, old_end), self.new.slice(start, new_end)
        if before == after:
            return None
        return RecentEdit(self.uri, self.new.line_at(start), self.new.line_at(new_end), before, after)


class History:
    """The edits of all documents, the newest first."""

    def __init__(self) -> None:
        self._told: deque[RecentEdit] = deque(maxlen=_KEPT)
        self._growing: _Growing | None = None

    def note(self, uri: str, old: Text, start: int, end: int, length: int, new: Text) -> None:
        """Note that `[start, end)` of `old` has become `length` characters of `new`."""
        growing = self._growing
        if growing is not None and growing.uri == uri and growing.grown(start, end, length, new):
            return
        self.settle()
        if max(length, end - start) <= LARGEST:
            self._growing = _Growing(uri, old, new, start, end, start + length)

    def settle(self, uri: str | None = None) -> None:
        """End the edit under way; if a document is named, only one of that document."""
        growing = self._growing
        if growing is None or uri not in (None, growing.uri):
            return
        self._growing = None
        self._told = deque(_with(self._told, growing), maxlen=_KEPT)

    def edits(self) -> tuple[RecentEdit, ...]:
        """Return the last edits, the newest first, the one under way among them."""
        if self._growing is None:
            return tuple(self._told)
        return tuple(_with(self._told, self._growing))[:_KEPT]


def _with(told: deque[RecentEdit], growing: _Growing) -> list[RecentEdit]:
    """Return the edits with one more, which becomes one with an edit that it goes on from (as with several cursors)."""
    new = growing.told()
    if new is None:
        return list(told)
    others = list(told)
    for other in told:
        if (other.uri, other.first, other.after) == (new.uri, new.first, new.before):
            others.remove(other)
            if other.before == new.after:
                return others  # it was undone
            new = RecentEdit(new.uri, new.first, new.last, other.before, new.after)
            break
    return [new, *others]
