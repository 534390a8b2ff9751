"""Fit a text that a model wrote into its hole: line ends, the limit of lines, manners. Text only: no tokens, no gate."""

from __future__ import annotations

from palimpsest_engine.fill.place import not_blank
from palimpsest_engine.fill.tidy import tidy
from palimpsest_engine.prompt.pieces import newline_of, plain
from palimpsest_engine.request import FillRequest


def fit(request: FillRequest, index: int, text: str) -> str:
    """Return the part of a written text, with `\\n` line ends, that goes into the hole number `index` of the request: in the
    document's newlines, within the request's limit of lines, tidied if the request says so."""
    newline, hole = newline_of(request.text), request.holes[index]
    text = text.replace("\n", newline)
    if request.max_lines is not None:
        text = "".join(text.splitlines(keepends=True)[: request.max_lines]).rstrip("\r\n")
    if request.tidy:
        multiline = request.max_lines != 1
        tidied = tidy(request.text, hole.start, hole.end, plain(text), multiline=multiline)
        text = tidied.replace("\n", newline)
    blank_after = request.text.startswith(("\n", "\r"), hole.end)
    return text.rstrip(" \t") if blank_after else text


def loses_a_line(request: FillRequest, index: int, text: str) -> bool:
    """Return whether tidying removes a whole line of what was written into a hole so far, so that none after it will be part
    of the fill. text: with `\\n` line ends."""
    whole, hole = text[: text.rfind("\n") + 1], request.holes[index]
    if not request.tidy or not whole:
        return False
    kept = tidy(request.text, hole.start, hole.end, whole, multiline=request.max_lines != 1)
    return len(not_blank(kept.split("\n"))) < len(not_blank(whole.split("\n")))
