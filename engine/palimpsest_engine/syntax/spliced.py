"""A document with its holes filled, as UTF-8: bytes for the parser, code points for everyone else. Knows no grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

from palimpsest_engine.request import Span
from palimpsest_engine.syntax.tree import Range

_LONE_CR = re.compile(
    rb"\r(?!\n)"
)  # ends lines in old files; to grammars and to Python only `\n` does, and it is as long


@dataclass(frozen=True, slots=True)
class Document:
    """A text in UTF-8 and its fills: `ranges` in bytes, `spans` in code points. above: lines that were cut off its start."""

    data: bytes
    ranges: tuple[Range, ...]
    spans: tuple[Span, ...]
    above: int = 0

    def without(self, head: int, tail: int) -> Document:
        """Return the document without so many bytes at its start and at its end."""
        if not head and not tail:
            return self
        ranges = tuple((start - head, end - head) for start, end in self.ranges)
        data = self.data[head : len(self.data) - tail]
        return Document(data, ranges, self.spans, self.data.count(b"\n", 0, head))

    def code_points(self, fill: int, start: int, end: int) -> Span:
        """Return a range of bytes in a fill as code points; an empty one takes in the one before it, else after."""
        span, origin = self.spans[fill], self.ranges[fill][0]
        first, last = (span.start + len(self.data[origin:at].decode("utf-8")) for at in (start, end))
        if first == last:
            return Span(first - 1, last) if first > span.start else Span(first, min(last + 1, span.end))
        return Span(first, last)

    def tail(self, fill: int) -> tuple[int, int, int]:
        """Return (fill, start, end) of the last line of a fill that is not blank."""
        start, end = self.ranges[fill]
        body = self.data[start:end].rstrip() or self.data[start:end]
        return fill, start + max(body.rfind(b"\n"), body.rfind(b"\r")) + 1, start + len(body)

    def lines(self) -> list[Range]:
        """Return the first and last line of each fill, from 1 on, without blank ends."""
        found = []
        for start, end in self.ranges:
            first = self.data.count(b"\n", 0, start) + 1
            found.append((first, first + self.data[start:end].rstrip().count(b"\n")))
        return found

    def next_line(self, line: int) -> int:
        """Return the first line after this one that is not blank, from 1 on; the last line if there is none."""
        lines = self.data.split(b"\n")
        return next((n for n in range(line + 1, len(lines) + 1) if lines[n - 1].strip()), len(lines))


class Snapshot:
    """A text cut at its holes. own: the text in each hole."""

    def __init__(self, text: str, holes: tuple[Span, ...]) -> None:
        """Take holes in code points, sorted and disjoint (ValueError otherwise)."""
        starts = (*(hole.start for hole in holes), len(text))
        ends = (0, *(hole.end for hole in holes))
        if not holes or any(start < end for start, end in zip(starts, ends, strict=True)):
            raise ValueError(f"holes must be sorted, disjoint and within the text of {len(text)}: {holes}")
        self.own = tuple(text[hole.start : hole.end] for hole in holes)
        self._holes = holes
        self._kept = tuple(_encode(text[end:start]) for end, start in zip(ends, starts, strict=True))

    def splice(self, texts: tuple[str, ...]) -> Document:
        """Return the document with these texts in its holes. ValueError unless there is one text a hole."""
        if len(texts) != len(self._holes):
            raise ValueError(f"{len(self._holes)} holes, but {len(texts)} texts")
        out, ranges, spans = [self._kept[0]], [], []
        at, moved = len(self._kept[0]), 0
        for hole, own, text, kept in zip(self._holes, self.own, texts, self._kept[1:], strict=True):
            fill = _encode(text)
            out += (fill, kept)
            ranges.append((at, at + len(fill)))
            spans.append(Span(hole.start + moved, hole.start + moved + len(text)))
            at += len(fill) + len(kept)
            moved += len(text) - len(own)
        return Document(_LONE_CR.sub(b"\n", b"".join(out)), tuple(ranges), tuple(spans))


def _encode(text: str) -> bytes:
    """Encode as UTF-8; a lone surrogate becomes one other character, so that code points still count the same."""
    return text.encode("utf-8", "replace")
