"""Cut a document into the text to keep and the holes to write. Text only: knows no tokens."""

from __future__ import annotations

from dataclasses import dataclass

from palimpsest_engine.request import FillRequest, Span


@dataclass(frozen=True, slots=True)
class Keep:
    """Text of the user that no model output ever replaces."""

    text: str


@dataclass(frozen=True, slots=True)
class Hole:
    """A span to be written anew; `text` is its present text."""

    span: Span
    text: str


def pieces(request: FillRequest) -> tuple[Keep | Hole, ...]:
    """Return Keep, Hole, Keep, ..., Hole, Keep: alternating, with a (possibly empty) Keep at both ends."""
    out: list[Keep | Hole] = []
    at = 0
    for hole in request.holes:
        out += (Keep(request.text[at : hole.start]), Hole(hole, request.text[hole.start : hole.end]))
        at = hole.end
    out.append(Keep(request.text[at:]))
    return tuple(out)


def newline_of(text: str) -> str:
    """Return the newline that a document uses most: `\\r\\n`, `\\n`, or `\\r` as old files have it."""
    crlf = text.count("\r\n")
    counts = {"\n": text.count("\n") - crlf, "\r\n": crlf, "\r": text.count("\r") - crlf}
    return max(counts, key=counts.__getitem__)  # the first of equals


def plain(text: str) -> str:
    """Return the text with `\\n` for every line end: a model reads and writes no other."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
