"""Keep the last texts that were written in each document, and their alternatives; knows nothing of LSP or engines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from palimpsest_engine import Span
from palimpsest_server.documents.latest import Latest
from palimpsest_server.documents.rope import Text

_AROUND = 24  # characters on either side by which a place is known again
_KEPT = 4
_DOCUMENTS = 32


@dataclass(frozen=True, slots=True)
class Filled:
    """Texts of which one stands in a document, or will.

    start: its offset. rest: the number of characters after it. before, after: the nearest of those around it.
    """

    texts: tuple[str, ...]
    start: int
    rest: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The text that stands there now (a span of the document), and the others."""

    span: Span
    others: tuple[str, ...]


class RecentFills:
    """The last few fills of each document that had alternatives."""

    def __init__(self) -> None:
        self._last = Latest[str, deque[Filled]](_DOCUMENTS)

    def keep(self, uri: str, content: Text, place: Span, texts: tuple[str, ...]) -> None:
        """Note that one of the texts was, or may be, put in this place of the document."""
        texts = tuple(dict.fromkeys(text for text in texts if text))
        if len(texts) > 1:
            before = content.slice(max(0, place.start - _AROUND), place.start)
            after = content.slice(place.end, place.end + _AROUND)
            kept = self._last.get(uri) or deque(maxlen=_KEPT)
            kept.appendleft(Filled(texts, place.start, len(content) - place.end, before, after))
            self._last[uri] = kept

    def find(self, uri: str, content: Text) -> Iterator[Standing]:
        """Yield the fills of which a text still stands there, the latest first; edits may be on one side of it."""
        for filled in self._last.get(uri, ()):
            if span := _place(filled, content):
                text = content.slice(span.start, span.end)
                yield Standing(span, tuple(other for other in filled.texts if other != text))

    def forget(self, uri: str) -> None:
        """Forget a document, which was closed."""
        self._last.pop(uri, None)


def _place(filled: Filled, content: Text) -> Span | None:
    for text in sorted(filled.texts, key=len, reverse=True):
        for start in (filled.start, len(content) - filled.rest - len(text)):
            if start >= 0 and _stands(filled, text, content, start):
                return Span(start, start + len(text))
    return None


def _stands(filled: Filled, text: str, content: Text, start: int) -> bool:
    end = start + len(text)
    return (
        content.slice(start, end) == text
        and content.slice(max(0, start - _AROUND), start).endswith(filled.before)
        and content.slice(end, end + _AROUND).startswith(filled.after)
    )
