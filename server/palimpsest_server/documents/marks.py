"""Follow places of documents while those are changed: a mark moves with its text, and is gone once that is changed.

Knows offsets alone. A change costs a few comparisons for each mark of its document.
"""

from __future__ import annotations

from weakref import WeakSet


class Mark:
    """A place `[start, end)` of a document. gone: its text was changed, or the document was closed."""

    __slots__ = ("__weakref__", "end", "gone", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.gone = False

    def moved(self, start: int, end: int, length: int) -> None:
        """Take note that `[start, end)` of the document has become `length` characters. What only touches it moves it."""
        if end <= self.start:
            self.start += length - (end - start)
            self.end += length - (end - start)
        elif start < self.end:
            self.gone = True


class Place(Mark):
    """A place that becomes longer and shorter with its text; all that touches it belongs to it from then on.

    gone: the document was closed, or replaced as a whole.
    """

    __slots__ = ()

    def moved(self, start: int, end: int, length: int) -> None:
        """Take note of a change."""
        more = length - (end - start)
        if end < self.start:
            self.start, self.end = self.start + more, self.end + more
        elif start <= self.end:
            self.start, self.end = min(self.start, start), max(self.end, end) + more


class Marks:
    """The marks of all documents. One is followed for as long as there is a reference to it."""

    def __init__(self) -> None:
        self._of: dict[str, WeakSet[Mark]] = {}

    def add(self, uri: str, start: int, end: int) -> Mark:
        """Follow a place of a document from now on."""
        mark = Mark(start, end)
        self._of.setdefault(uri, WeakSet()).add(mark)
        return mark

    def follow(self, uri: str, start: int, end: int) -> Place:
        """Follow a place of a document that may change from now on."""
        place = Place(start, end)
        self._of.setdefault(uri, WeakSet()).add(place)
        return place

    def moved(self, uri: str, start: int, end: int, length: int) -> None:
        """Take note that `[start, end)` of a document has become `length` characters."""
        for mark in self._of.get(uri, ()):
            mark.moved(start, end, length)

    def forget(self, uri: str) -> None:
        """Drop the marks of a document: it was closed, or replaced as a whole."""
        for mark in self._of.pop(uri, ()):
            mark.gone = True
