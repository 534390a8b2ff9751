"""Keep what a person has changed, and where it stands now: typing on one line is one change, and so is a paste.

Knows texts and offsets alone. A change of a document costs a few integers, and a copy of the little that it replaces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic

from palimpsest_engine import Change
from palimpsest_server.documents.marks import Marks
from palimpsest_server.documents.rope import Text

LARGEST = 2000  # characters before or after; more are a formatter's or a generated text
_MOST = 8
_KEPT = 24
_SECONDS = 600.0  # an older change is no reason for anything any more
_JOINED_SECONDS = 60.0  # what is typed on the same line later is another change


@dataclass(slots=True, eq=False)
class _Changed:
    """`was` has become what is in `[start, end)` of the present text.

    caret: where its last keystroke ended. at: when that was. edit: the id of the next edit that it was, or "".
    """

    uri: str
    start: int
    end: int
    was: str
    caret: int
    at: float
    edit: str = ""

    def grown(self, old: Text, start: int, end: int, length: int, at: float) -> _Changed:
        """Return this change with another one after it, of `[start, end)` of `old` to `length` characters."""
        first, last = min(start, self.start), max(end, self.end)
        was = old.slice(first, self.start) + self.was + old.slice(self.end, last)
        return _Changed(self.uri, first, last + length - (end - start), was, start + length, at, self.edit)

    def undone(self, new: Text) -> bool:
        """Return whether the text reads as it did before."""
        return self.end - self.start == len(self.was) and new.slice(self.start, self.end) == self.was

    def moved(self, start: int, end: int, length: int) -> bool:
        """Take note of another change; return False if this one does not stand any more."""
        more = length - (end - start)
        if start < self.caret:
            self.caret = self.caret + more if end <= self.caret else start + length
        if end <= self.start:
            self.start, self.end = self.start + more, self.end + more
            return True
        if start >= self.end:
            return True
        self.end += more
        return not self.edit and start >= self.start and end <= self.end - more

    def told(self, content: Text) -> Change | None:
        """Return the change in whole lines; None if those are too long, or only blanks have changed."""
        head, (line, rest) = content.line_around(self.start)[0], content.line_around(self.end)
        if self.start - head + rest - self.end > 2 * LARGEST:
            return None
        now = content.slice(self.start, self.end)
        if now.split() == self.was.split():
            return None
        whole = line == self.end and (self.was.endswith(("\n", "\r")) or (not self.was and head == self.start))
        tail = self.end if whole else content.line_bounds(content.line_at(self.end) + 1)[0]
        before, after = content.slice(head, self.start), content.slice(self.end, tail)
        return Change(self.uri, head, f"{before}{self.was}{after}", f"{before}{now}{after}")


class Changes:
    """The changes of all open documents, the newest first.

    accepts: says which next edit a change applies that is about to be noted, or "". accepted, undone: told of a next edit
    that was applied, or undone, and where the change begins that did it. last_undone: the document in which the very last
    change undid another one, or "".
    """

    def __init__(self, marks: Marks, clock: Callable[[], float] = monotonic) -> None:
        """Take the marks that are to move with each change."""
        self.accepts: Callable[[str, Text, int, int, str], str] = lambda uri, old, start, end, text: ""
        self.accepted: Callable[[str, int], object] = lambda edit, start: None
        self.undone: Callable[[str, int], object] = lambda edit, start: None
        self.last_undone = ""
        self._marks = marks
        self._clock = clock
        self._changed: list[_Changed] = []

    def note(self, uri: str, old: Text, start: int, end: int, text: str, new: Text, *, typed: bool = True) -> None:
        """Note that `[start, end)` of `old` has become `text`. typed: by a person, not by a formatter."""
        now, length = self._clock(), len(text)
        edit = self.accepts(uri, old, start, end, text)
        self._marks.moved(uri, start, end, length)
        if end - start == length and old.slice(start, end) == text:
            return
        here = [each for each in self._changed if each.uri == uri]
        undone, goes_on, made = None, None, None
        small = max(length, end - start) <= LARGEST
        if small:
            touched = (each for each in here if start <= each.end and each.start <= end)
            undone = next((each for each in touched if each.grown(old, start, end, length, now).undone(new)), None)
        self.last_undone = uri if undone else ""
        if undone is not None:
            self.undone(undone.edit, undone.start)
        elif typed and small:
            made = _Changed(uri, start, start + length, old.slice(start, end), start + length, now, edit)
            on = None if edit else next((each for each in here if _goes_on(each, old, start, end, text, now)), None)
            longer = on and on.grown(old, start, end, length, now)
            if longer and max(len(longer.was), longer.end - longer.start) <= LARGEST:
                goes_on, made = on, longer
        if edit:
            self.accepted(edit, start)
        gone = [each for each in here if each in (undone, goes_on) or not each.moved(start, end, length)]
        rest = [each for each in self._changed if each not in gone]
        self._changed = [*([made] if made else []), *rest][:_KEPT]

    def forget(self, uri: str) -> None:
        """Forget the changes of a document: it was closed, or replaced as a whole."""
        self._marks.forget(uri)
        self._changed = [each for each in self._changed if each.uri != uri]
        self.last_undone = "" if self.last_undone == uri else self.last_undone

    @property
    def any(self) -> bool:
        """Return whether anything was changed."""
        return bool(self._changed)

    def newest(self, uri: str) -> tuple[int, int, float] | None:
        """Return where the newest change of a document stands, and how many seconds ago it was made.

        A next edit that was accepted was made long ago: nobody goes on typing it.
        """
        newest = next((each for each in self._changed if each.uri == uri), None)
        if newest is None:
            return None
        return newest.start, newest.end, inf if newest.edit else self._clock() - newest.at

    def recent(self, content: Callable[[str], Text | None]) -> tuple[Change, ...]:
        """Return the last few changes, the newest first. content: the present text of a document."""
        oldest = self._clock() - _SECONDS
        self._changed = [each for each in self._changed if each.at >= oldest]
        found = list[Change]()
        for each in self._changed:
            text = content(each.uri)
            if text is not None and (change := each.told(text)) is not None:
                found.append(change)
        return tuple(found[:_MOST])


def _goes_on(changed: _Changed, old: Text, start: int, end: int, text: str, now: float) -> bool:
    """Return whether `[start, end)` of `old` is on the line where the change was typed last, a moment ago."""
    if changed.edit or now - changed.at > _JOINED_SECONDS:
        return False
    first, last = old.line_around(changed.caret)
    if end == first < changed.start and (not text or text.endswith(("\n", "\r"))):
        return False  # whole lines above it
    return first <= end and start <= last
