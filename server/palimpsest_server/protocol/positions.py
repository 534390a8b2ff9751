"""Convert positions of the protocol (line and code units) to code point offsets and back; knows only text.

Line ends are those of the protocol alone: `\\n`, `\\r\\n` and `\\r`. Form feeds, U+0085 and U+2028 are ordinary characters;
`str.splitlines` would break lines at them and differ from the editor.
"""

from __future__ import annotations

import re
from itertools import islice

from lsprotocol import types

Encoding = types.PositionEncodingKind

_LINE_END = re.compile("\r\n|\r|\n")


def line_bounds(text: str, line: int) -> tuple[int, int]:
    """Return the start and end of a line without its line end; a line past the last is the end of the text."""
    ends = _LINE_END.finditer(text)
    start = 0
    if line > 0:
        before = next(islice(ends, line - 1, None), None)
        if before is None:
            return len(text), len(text)
        start = before.end()
    end = next(ends, None)
    return start, len(text) if end is None else end.start()


def line_around(text: str, offset: int) -> tuple[int, int]:
    """Return the start and end of the line that an offset is on, without its line end."""
    start = 1 + max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset))
    end = _LINE_END.search(text, offset)
    return start, len(text) if end is None else end.start()


def offset_at(text: str, position: types.Position, encoding: Encoding) -> int:
    """Return the code point offset of a position.

    Past the end of a line is the end of that line, past the last line is the end of the text, and inside a
    code point (between surrogates, between UTF-8 bytes) is its start.
    """
    start, end = line_bounds(text, position.line)
    return start + code_points(text[start:end], position.character, encoding)


def position_at(text: str, offset: int, encoding: Encoding) -> types.Position:
    """Return the position of an offset in `0..len(text)`; inside a `\\r\\n` it is that of the line's end."""
    if text[max(offset - 1, 0) : offset + 1] == "\r\n":
        offset -= 1
    ends = list(_LINE_END.finditer(text, 0, offset))
    start = ends[-1].end() if ends else 0
    return types.Position(len(ends), units_in(text[start:offset], encoding))


def range_at(text: str, start: int, end: int, encoding: Encoding) -> types.Range:
    """Return the range of two offsets."""
    return types.Range(position_at(text, start, encoding), position_at(text, end, encoding))


def as_json(range_: types.Range) -> dict[str, dict[str, int]]:
    """Return a range as JSON."""
    edges = {"start": range_.start, "end": range_.end}
    return {name: {"line": edge.line, "character": edge.character} for name, edge in edges.items()}


def units_in(text: str, encoding: Encoding) -> int:
    """Return the length of a text in code units."""
    if encoding is Encoding.Utf32 or text.isascii():
        return len(text)
    if encoding is Encoding.Utf8:
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def code_points(line: str, units: int, encoding: Encoding) -> int:
    """Count the code points in the first `units` code units of a line, the last one only if it is whole."""
    if encoding is Encoding.Utf32 or line.isascii():
        return min(units, len(line))
    if encoding is Encoding.Utf8:
        octets = line.encode("utf-8", "surrogatepass")
        units = min(units, len(octets))
        while 0 < units < len(octets) and octets[units] & 0xC0 == 0x80:
            units -= 1
        return len(octets[:units].decode("utf-8", "surrogatepass"))
    octets = line.encode("utf-16-le", "surrogatepass")
    units = min(units, len(octets) // 2)
    if 0 < 2 * units < len(octets):
        high, low = (
            octets[2 * units - 1],
            octets[2 * units + 1],
        )  # the upper bytes of the units around the cut
        if high & 0xFC == 0xD8 and low & 0xFC == 0xDC:
            units -= 1
    return len(octets[: 2 * units].decode("utf-16-le", "surrogatepass"))
