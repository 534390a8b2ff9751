"""Keep a document's text in chunks, so that an edit costs the same in a large text as in a small one.

Knows characters and positions, nothing of documents. Offsets are code points; line ends and positions inside a character
are as in `positions`. A text must not hold a surrogate pair as two code points (`store` sees to that); lone surrogates
are characters like others.
"""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right
from functools import cached_property
from itertools import accumulate

from lsprotocol import types

from palimpsest_server.protocol import positions

_CHUNK = 8192
_LARGEST = 2 * _CHUNK
_SMALLEST = _CHUNK // 4


class _Chunk:
    """A piece of a text. Its figures are computed once and shared by all texts that have it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.size = len(text)
        self.line_ends = text.count("\n")
        if "\r" in text:
            self.line_ends += text.count("\r") - text.count("\r\n")

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Return the offsets of the lines that begin in here; the first is 0, and one may begin at the very end."""
        # Untranslated universal newlines are exactly the protocol's line ends.
        ends = tuple(accumulate(map(len, io.StringIO(self.text, newline="")), initial=0))
        return ends[: self.line_ends + 1]

    @cached_property
    def utf8(self) -> int:
        """Return the text's length in octets."""
        return positions.units_in(self.text, positions.Encoding.Utf8)

    @cached_property
    def utf16(self) -> int:
        """Return the text's length in UTF-16 code units."""
        return positions.units_in(self.text, positions.Encoding.Utf16)

    def units(self, encoding: positions.Encoding) -> int:
        """Return the text's length in code units."""
        if encoding is positions.Encoding.Utf32 or self.text.isascii():
            return self.size
        return self.utf8 if encoding is positions.Encoding.Utf8 else self.utf16


class Text:
    """An immutable text. Equal texts are equal; a text and its edited version share most chunks."""

    def __init__(self, chunks: tuple[_Chunk, ...], offsets: list[int], lines: list[int]) -> None:
        """Take chunks; an empty text is one empty chunk.

        offsets: the beginning of each chunk, and the length of the text. lines: the number of line ends before each chunk,
        and in all.
        """
        self._chunks = chunks
        self._offsets = offsets
        self._lines = lines

    @staticmethod
    def of(text: str) -> Text:
        """Make a text of a string."""
        chunks = _cut(text)
        sizes, line_ends = _figures(chunks)
        made = Text(chunks, [*accumulate(sizes, initial=0)], [*accumulate(line_ends, initial=0)])
        made._whole = text
        return made

    # Characters

    def __len__(self) -> int:
        return self._offsets[-1]

    def __str__(self) -> str:
        return self._whole

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Text):
            return NotImplemented
        return self is other or (len(self) == len(other) and str(self) == str(other))

    def __hash__(self) -> int:
        return hash(self._whole)

    def __repr__(self) -> str:
        return f"<Text of {len(self)} characters>"

    @cached_property
    def _whole(self) -> str:
        if len(self._chunks) == 1:
            return self._chunks[0].text
        return "".join([chunk.text for chunk in self._chunks])

    def slice(self, start: int, end: int) -> str:
        """Return the characters in `[start, end)`, as many of them as there are."""
        assert start >= 0, "offsets are counted from the start"
        end = min(end, len(self))
        if start >= end:
            return ""
        first, last = self._chunk_at(start), self._chunk_at(end - 1)
        at = self._offsets[first]
        if first == last:
            return self._chunks[first].text[start - at : end - at]
        between = [chunk.text for chunk in self._chunks[first + 1 : last]]
        ending = self._chunks[last].text[: end - self._offsets[last]]
        return "".join([self._chunks[first].text[start - at :], *between, ending])

    def replaced(self, start: int, end: int, new: str) -> Text:
        """Return the text with `new` in place of `[start, end)`."""
        assert 0 <= start <= end <= len(self), "a range of this text"
        chunks, offsets = self._chunks, self._offsets
        first = self._chunk_at(start)
        last = self._chunk_at(end)
        head = chunks[first].text[: start - offsets[first]]
        middle = f"{head}{new}{chunks[last].text[end - offsets[last] :]}"
        last += 1
        # A small piece goes to a neighbour, and no line end may lie in two chunks.
        while last < len(chunks) and (len(middle) < _SMALLEST or _parted(middle, chunks[last].text)):
            middle += chunks[last].text
            last += 1
        while first > 0 and (len(middle) < _SMALLEST or _parted(chunks[first - 1].text, middle)):
            first -= 1
            middle = chunks[first].text + middle
        cut = _cut(middle)
        sizes, line_ends = _figures(cut)
        return Text(
            chunks[:first] + cut + chunks[last:],
            _with(offsets, first, last, sizes),
            _with(self._lines, first, last, line_ends),
        )

    # Lines and positions

    @property
    def line_count(self) -> int:
        """Return the number of lines; the last one has no line end and may be empty."""
        return self._lines[-1] + 1

    def line_at(self, offset: int) -> int:
        """Return the line, from 0, that an offset is on; an offset inside a `\\r\\n` is on the line that it ends."""
        k = self._chunk_at(offset)
        chunk, at = self._chunks[k], offset - self._offsets[k]
        if at > 0 and chunk.text.startswith("\r\n", at - 1):
            at -= 1
        return self._lines[k] + bisect_right(chunk.starts, at) - 1

    def line_bounds(self, line: int) -> tuple[int, int]:
        """Return the start and end of a line without its line end; a line past the last is the end of the text."""
        if line >= self.line_count:
            return len(self), len(self)
        start = 0
        if line > 0:
            k, at = self._within(line)
            start = self._offsets[k] + at
        if line + 1 == self.line_count:
            return start, len(self)
        k, at = self._within(line + 1)
        width = 2 if self._chunks[k].text.endswith("\r\n", 0, at) else 1
        return start, self._offsets[k] + at - width

    def line_around(self, offset: int) -> tuple[int, int]:
        """Return the start and end of the line that an offset is on, without its line end."""
        return self.line_bounds(self.line_at(offset))

    def offset_at(self, position: types.Position, encoding: positions.Encoding) -> int:
        """Return the offset of a position.

        Past the end of a line is the end of that line, past the last line is the end of the text, and inside a
        character (between surrogates, between UTF-8 bytes) is its start.
        """
        start, end = self.line_bounds(position.line)
        if encoding is positions.Encoding.Utf32:
            return min(start + position.character, end)
        units = position.character
        while start < end:
            piece, width = self._piece(start, end, encoding)
            if units < width:
                return start + positions.code_points(piece, units, encoding)
            units -= width
            start += len(piece)
        return end

    def position_at(self, offset: int, encoding: positions.Encoding) -> types.Position:
        """Return the position of an offset; inside a `\\r\\n` it is that of the line's end."""
        line = self.line_at(offset)
        start, end = self.line_bounds(line)
        offset = min(offset, end)
        if encoding is positions.Encoding.Utf32:
            return types.Position(line, offset - start)
        units = 0
        while start < offset:
            piece, width = self._piece(start, offset, encoding)
            units += width
            start += len(piece)
        return types.Position(line, units)

    def range_at(self, start: int, end: int, encoding: positions.Encoding) -> types.Range:
        """Return the range of two offsets."""
        return types.Range(self.position_at(start, encoding), self.position_at(end, encoding))

    # Chunks

    def _chunk_at(self, offset: int) -> int:
        """Return the chunk that has the character at an offset; the last one for the end of the text."""
        assert 0 <= offset <= len(self), "an offset of this text"
        if len(self._chunks) == 1:
            return 0
        return min(bisect_right(self._offsets, offset), len(self._chunks)) - 1

    def _within(self, line: int) -> tuple[int, int]:
        """Return, for a line but the first, the chunk that has the line end before it, and the offset of its end in there."""
        k = bisect_left(self._lines, line) - 1
        return k, self._chunks[k].starts[line - self._lines[k]]

    def _piece(self, start: int, end: int, encoding: positions.Encoding) -> tuple[str, int]:
        """Return as much of a range as one chunk has, and its length in code units."""
        k = self._chunk_at(start)
        chunk, at = self._chunks[k], self._offsets[k]
        if start == at and end >= at + chunk.size:
            return chunk.text, chunk.units(encoding)
        piece = chunk.text[start - at : end - at]
        return piece, positions.units_in(piece, encoding)


def _figures(chunks: tuple[_Chunk, ...]) -> tuple[list[int], list[int]]:
    """Return the chunks' sizes and numbers of line ends."""
    return [chunk.size for chunk in chunks], [chunk.line_ends for chunk in chunks]


def _with(sums: list[int], first: int, last: int, new: list[int]) -> list[int]:
    """Return sums over chunks, with other chunks in place of those from `first` to before `last`."""
    middle = accumulate(new, initial=sums[first])
    more = sums[first] + sum(new) - sums[last]
    rest = sums[last + 1 :]
    return [*sums[:first], *middle, *([each + more for each in rest] if more else rest)]


def _parted(before: str, after: str) -> bool:
    """Return whether a line end lies in both pieces."""
    return before.endswith("\r") and after.startswith("\n")


def _cut(text: str) -> tuple[_Chunk, ...]:
    """Cut a string into chunks of about one size."""
    if len(text) <= _LARGEST:
        return (_Chunk(text),)
    chunks = []
    at = 0
    while at < len(text):
        # The rest in equal parts, lest the last one be tiny.
        end = at + -(-(len(text) - at) // -(-(len(text) - at) // _CHUNK))
        if text.startswith("\r\n", end - 1):
            end += 1
        chunks.append(_Chunk(text[at:end]))
        at = end
    return tuple(chunks)
