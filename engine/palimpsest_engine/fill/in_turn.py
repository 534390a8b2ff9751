"""Fill the holes of a request one group after the other, each in the text that those before it left; join the answers.

Text only. `filler.py` fills a group as one canvas, `remote/` one hole at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest, Span
from palimpsest_engine.trace import Frame, Judged, Lane, Slot, Stage, Traced


def in_turn(
    request: FillRequest,
    spans: Sequence[Span],
    groups: Iterable[tuple[Span, ...]],
    fill_group: Callable[[FillRequest], Iterator[Draft | Fill]],
) -> Iterator[Draft | Fill]:
    """Yield drafts of all holes, then the one `Fill`.

    spans: the holes, or parts of them. groups: the spans that are filled together, in order. fill_group: fills the holes of a
    request that has one group's alone.
    """
    begun = time.perf_counter()
    texts = {span: "" if request.strength == 1.0 else request.text[span.start : span.end] for span in spans}
    text, shift, fills, done = request.text, 0, list[Fill](), set[Span]()
    for group in groups:
        holes = tuple(Span(span.start + shift, span.end + shift) for span in group)
        part = replace(request, text=text, holes=holes)
        for event in fill_group(part):
            if isinstance(event, Draft):
                now = dict(zip(group, event.holes, strict=True))
                shown = {span: now.get(span, (DraftPiece(texts[span], span in done),)) for span in spans}
                frame = None if event.frame is None else spread(event.frame, group, request.holes)
                holes_now = tuple(joined_pieces(shown, hole) for hole in request.holes)
                yield replace(event, holes=holes_now, frame=frame)
                continue
            fills.append(event if event.traced is None else told_of_all(event, event.traced, group, request.holes))
            # A hole for which nothing is offered keeps its text.
            new = tuple(text[hole.start : hole.end] for hole in holes) if event.empty else event.texts
            texts |= dict(zip(group, new, strict=True))
            done |= set(group)
            text = part.splice(new)
        shift = len(text) - len(request.text)
    whole = tuple("".join(texts[span] for span in spans if within(span, hole)) for hole in request.holes)
    yield joined(fills, whole, (time.perf_counter() - begun) * 1000)


def within(part: Span, hole: Span) -> bool:
    """Return whether the part is this hole or a piece of it."""
    return hole.start <= part.start and part.end <= hole.end


def joined_pieces(shown: dict[Span, tuple[DraftPiece, ...]], hole: Span) -> tuple[DraftPiece, ...]:
    """Join the drafts of a hole's parts."""
    return tuple(piece for part, pieces in shown.items() if within(part, hole) for piece in pieces if piece.text)


def spread(frame: Frame, group: tuple[Span, ...], holes: tuple[Span, ...]) -> Frame:
    """Return the frame of a group with all holes of the request; one that is filled in another group has no slots."""

    def slots(lane: Lane, hole: Span) -> tuple[Slot, ...]:
        parts = (slots for part, slots in zip(group, lane.holes, strict=True) if within(part, hole))
        return tuple(slot for slots in parts for slot in slots)

    lanes = tuple(replace(lane, holes=tuple(slots(lane, hole) for hole in holes)) for lane in frame.lanes)
    return replace(frame, lanes=lanes)


def told_of_all(fill: Fill, traced: Traced, group: tuple[Span, ...], holes: tuple[Span, ...]) -> Fill:
    """Return the fill of a group whose candidates have a text for each hole of the request, "" for those of other groups."""

    def texts(judged: Judged) -> tuple[str, ...]:
        of_parts = list(zip(group, judged.texts, strict=True))
        return tuple("".join(text for part, text in of_parts if within(part, hole)) for hole in holes)

    candidates = tuple(replace(each, texts=texts(each)) for each in traced.candidates)
    return replace(fill, traced=replace(traced, candidates=candidates))


def joined_trace(fills: Sequence[Fill]) -> Traced | None:
    """Return the candidates of all groups, one group after the other, and the sums of the stages; None without a trace."""
    traces = [fill.traced for fill in fills if fill.traced is not None]
    sums = dict[str, float]()
    for stage in (stage for each in traces for stage in each.stages):
        sums[stage.name] = sums.get(stage.name, 0.0) + stage.ms
    candidates = tuple(judged for each in traces for judged in each.candidates)
    return Traced(candidates, tuple(Stage(name, ms) for name, ms in sums.items())) if traces else None


def joined(fills: Sequence[Fill], texts: tuple[str, ...], ms: float) -> Fill:
    """Join the canvases' answers: the verdict on the whole document, the gravest treatment, sums of the work."""
    if len(fills) == 1:
        return replace(fills[0], ms=ms)
    treatments = ("none", "repaired", "cut", "rejected")
    return Fill(
        texts=("",) * len(texts) if all(fill.empty for fill in fills) else texts,
        # Each canvas is judged with those before it filled, so the last verdict on a text is that on the whole document.
        verdict=next((fill.verdict for fill in reversed(fills) if not fill.empty), fills[-1].verdict),
        reason="; ".join(dict.fromkeys(fill.reason for fill in fills if fill.reason)),
        treatment=max((fill.treatment for fill in fills), key=treatments.index),
        nfe=sum(fill.nfe for fill in fills),
        ms=ms,
        settled=all(fill.settled for fill in fills),
        encoded=sum(fill.encoded for fill in fills),
        context=max(fill.context for fill in fills),
        traced=joined_trace(fills),
    )
