"""Turns places of the command line (lines and columns from 1) into spans of a text; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

import click

from palimpsest_engine import Span
from palimpsest_engine.errors import PositionOutside
from palimpsest_server.protocol import positions


@dataclass(frozen=True, slots=True)
class Place:
    """A line and a column, both from 1; columns count code points."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines up to and including the last one, without its line end."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """A range from one place up to another."""

    start: Place
    end: Place


def place(ctx: click.Context, param: click.Parameter, value: str | None) -> Place | None:
    """Parse `LINE:COL`."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", value, re.ASCII)
    if match is None:
        raise click.BadParameter(f"expected LINE:COL, such as 12:5, not {value!r}")
    return Place(int(match[1]), int(match[2]))


def stretch(ctx: click.Context, param: click.Parameter, value: str | None) -> Lines | Stretch | None:
    """Parse `A:B` (whole lines) or `LINE:COL-LINE:COL` (an exact range)."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)(?:-(\d+):(\d+))?", value, re.ASCII)
    if match is None:
        raise click.BadParameter(f"expected A:B (whole lines) or LINE:COL-LINE:COL, not {value!r}")
    start, end = (int(match[1]), int(match[2])), (int(match[3] or 0), int(match[4] or 0))
    if match[3] is None:
        if start[1] < start[0]:
            raise click.BadParameter(f"line {start[1]} comes before line {start[0]}")
        return Lines(*start)
    if end < start:
        raise click.BadParameter(f"{end[0]}:{end[1]} comes before {start[0]}:{start[1]}")
    return Stretch(Place(*start), Place(*end))


def span_of(text: str, where: Place | Lines | Stretch) -> Span:
    """Return the span in code points. Raises PositionOutside."""
    match where:
        case Place():
            offset = _offset(text, where)
            return Span(offset, offset)
        case Lines():
            return Span(_line(text, where.first)[0], _line(text, where.last)[1])
        case Stretch():
            return Span(_offset(text, where.start), _offset(text, where.end))


def _offset(text: str, at: Place) -> int:
    start, end = _line(text, at.line)
    if not 1 <= at.column <= end - start + 1:
        raise PositionOutside(f"line {at.line} has columns 1 to {end - start + 1}, but not {at.column}")
    return start + at.column - 1


def _line(text: str, line: int) -> tuple[int, int]:
    lines = positions.position_at(text, len(text), positions.Encoding.Utf32).line + 1
    if not 1 <= line <= lines:
        raise PositionOutside(f"the file has lines 1 to {lines}, but not {line}")
    return positions.line_bounds(text, line - 1)
