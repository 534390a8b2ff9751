"""Find the white space around a byte of a text. A line that goes on with a backslash counts as white space."""

from __future__ import annotations

_SPACE = b" \t\r\n\x0c\\"


def back(data: bytes, at: int) -> int:
    """Return where the white space before a byte begins."""
    while at and data[at - 1] in _SPACE:
        at -= 1
    return at


def forward(data: bytes, at: int) -> int:
    """Return where the white space at a byte ends."""
    while at < len(data) and data[at] in _SPACE:
        at += 1
    return at


def gap_at(data: bytes, at: int) -> bytes:
    """Return the white space around a byte."""
    return data[back(data, at) : forward(data, at)]


def indent(data: bytes, at: int) -> bytes:
    """Return the white space that the line of a byte begins with."""
    line = data[data.rfind(b"\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]
