"""Decide which of the places that a model has written anew are offered. Text only; the syntax gate has the last word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from palimpsest_engine.fill.line_hunks import LineHunk, replaced, spliced
from palimpsest_engine.prompt.edit_formats import EditAsk
from palimpsest_engine.prompt.pieces import plain
from palimpsest_engine.request import Fill, FillRequest, Verdict
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.watched import SyntaxGate

PLACES = 4  # that are looked at, from the first on
AROUND = 2048  # characters on either side of the window that the published formats show


def ask_of(request: FillRequest, *, knowing: bool = True) -> EditAsk:
    """Return the ask of a request with changes; without them, if not `knowing`."""
    hole = request.holes[0]
    present = request.text[hole.start : hole.end]
    cursor = None if request.cursor is None else request.cursor - hole.start
    inside = cursor is not None and 0 <= cursor <= len(present)
    return EditAsk(
        request.path or "file",
        language_of(request.path, request.language) or "",
        request.changes if knowing else (),
        plain(request.text[max(0, hole.start - AROUND) : hole.start]),
        plain(present),
        plain(request.text[hole.end : hole.end + AROUND]),
        len(plain(present[:cursor])) if inside else None,
    )


def offered(request: FillRequest, proposed: str, follows: Callable[[Sequence[LineHunk]], bool]) -> Fill:
    """Return all places of a proposed window together, or else the first that can stand by itself; or nothing, and why.

    A place is offered if the syntax bears it and it `follows`.
    """
    present = request.text[request.holes[0].start : request.holes[0].end]
    window = plain(present)
    places = [each for each in replaced(window, plain(proposed)) if not _is_slip(each, window.count("\n"))][:PLACES]
    if not places:
        return nothing("The model would leave everything as it is.")
    gate = SyntaxGate(request.text, request.holes, language_of(request.path, request.language))
    none = nothing("What the model would change does not follow from the changes.")
    for chosen in dict.fromkeys((tuple(places), *((each,) for each in places))):
        text = spliced(window, chosen)
        text = text.replace("\n", "\r\n") if "\r\n" in present else text
        verdict = gate.judge((text,))
        if verdict.status == "worse":
            reason = "What follows would have broken the syntax."
            none = replace(none, verdict=verdict, treatment="rejected", reason=reason)
        elif follows(chosen):
            return Fill((text,), verdict)
    return none


def _is_slip(place: LineHunk, lines: int) -> bool:
    """Return whether a place is no edit: something is left out of the window, or put before or behind it to make it whole."""
    added = place.start == place.end
    return not place.lines or (added and (place.start == 0 or place.end >= lines))


def nothing(reason: str) -> Fill:
    """Return a fill that offers nothing."""
    return Fill(("",), Verdict("no worse", "nothing was written"), reason)
