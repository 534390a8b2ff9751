"""Decide what to denoise for a request: which holes share a canvas, which sizes are tried, how many candidates there are.

Knows the tokenizer and a checkpoint's description; no tensors, no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.fill.detokenize import PINNING
from palimpsest_engine.prompt.layout import WINDOW, Layout
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import FillRequest, Span

ATTEMPTS = 2  # fresh noise once more, if nothing came of the first


@dataclass(frozen=True, slots=True)
class Plan:
    """sizes: hole tokens of each row of the batch, ascending. blocks: whole canvases to write before it, for a long hole.

    lines: so many candidates are also written left to right. attempts: how often to begin again while nothing comes of it.
    """

    sizes: tuple[int, ...]
    blocks: int
    lines: int
    attempts: int


def plan_canvas(request: FillRequest, spec: Spec, tokens: Tokens, layout: Layout) -> Plan:
    """Plan one canvas for all holes of the request, or, for one long hole, several after each other; one row for a canvas
    that begins with something."""
    if request.start:
        assert request.sizes is not None
        return Plan(request.sizes, blocks=0, lines=0, attempts=1)
    sizes, blocks = _sizes(request, spec, tokens, layout)
    more = request.candidates - 1
    tries = spec.tries if request.strength == 1.0 else 1
    rows = sorted(sizes * max(tries, 2 + more // len(sizes) if more else 1))
    if not spec.sampling.t_max and request.strength == 1.0:
        rows = sizes  # each of a size would be the same
    alone = len(request.holes) == 1 and request.strength == 1.0 and not blocks and not request.sizes
    attempts = ATTEMPTS if request.strength > PINNING else 2 * ATTEMPTS
    if not spec.denoises or (not spec.sampling.t_max and request.strength == 1.0):
        attempts = 1  # the likeliest text is the same each time
    return Plan(tuple(rows), blocks, _causal_candidates(request, spec) if alone else 0, attempts)


def _sizes(request: FillRequest, spec: Spec, tokens: Tokens, layout: Layout) -> tuple[list[int], int]:
    """Return (hole sizes to try, whole canvases to write before them)."""
    count = len(request.holes)
    room = spec.canvas - sum(map(len, layout.between))
    present = len(tokens.encode(request.text[request.holes[0].start : request.holes[0].end]))
    within_line = spec.line_sizes if request.max_lines == 1 else ()
    wanted = sorted(request.sizes or within_line or spec.hole_sizes)
    if count == 1 and request.strength < 1.0:
        wanted = [present + min(spec.hole_sizes)]  # the present text decides; the surplus is for growing
    elif count == 1 and not request.sizes and present > wanted[-1]:
        wanted = sorted(_multiples(present, spec.near)) if present <= room else [present]
    elif count == 1 and not request.sizes and present >= wanted[0]:
        wanted = _nearer(wanted, _multiples(present, spec.near)) if spec.near else wanted
    fitting = [size for size in wanted if size * count <= room]
    if count > 1:
        return fitting or [max(1, room // count)], 0
    if fitting:
        return fitting, 0
    return list(spec.hole_sizes), -(-(wanted[0] - max(spec.hole_sizes)) // spec.canvas)


def _multiples(present: int, factors: Sequence[float]) -> list[int]:
    """Return the length of the present text, times each factor; without any, as it is."""
    return list(dict.fromkeys(max(1, round(present * factor)) for factor in factors or (1.0,)))


def _nearer(sizes: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Return as many sizes, with the wanted ones, the first of them first, in place of those nearest to them by ratio."""
    left, wanted = list(sizes), wanted[: len(sizes)]
    for size in wanted:
        left.remove(min(left, key=lambda each: max(each / size, size / each)))
    return sorted({*left, *wanted})


def _causal_candidates(request: FillRequest, spec: Spec) -> int:
    """Count the lines to write left to right beside the denoised candidates."""
    text, hole, blank = request.text, request.holes[0], spec.blank_line_candidates
    before, after = text[: hole.start].rpartition("\n")[2], text[hole.end :].partition("\n")[0]
    return spec.causal_candidates if blank is None or (before + after).strip() else blank


def parts(request: FillRequest, spec: Spec, tokens: Tokens) -> tuple[Span, ...]:
    """Return the holes; below full strength, cut into parts that a canvas can hold, between lines where possible."""
    if request.strength == 1.0:
        return request.holes
    most = max(1, spec.canvas - spec.pins - min(spec.hole_sizes))
    found = list[Span]()
    for hole in request.holes:
        start = hole.start
        while start < hole.end or start == hole.start:
            rest = request.text[start : min(hole.end, start + WINDOW)]
            ends = tokens.offsets(rest)
            end = len(rest) if len(ends) <= most else ends[most - 1]
            if end < len(rest) and (line := rest.rfind("\n", 0, end) + 1):
                end = line
            found.append(Span(start, start + max(end, min(1, len(rest)))))
            if found[-1].end >= hole.end:
                break
            start = found[-1].end
    return tuple(found)


def groups(text: str, holes: Sequence[Span], spec: Spec, tokens: Tokens) -> Iterator[tuple[Span, ...]]:
    """Group holes that fit in one canvas together, with the tokens between them."""
    least = 2 * min(spec.hole_sizes)
    group: list[Span] = []
    used = 0
    for hole in holes:
        between = len(tokens.encode(text[group[-1].end : hole.start])) if group else 0
        if group and used + between + 2 * least > spec.canvas:
            yield tuple(group)
            group, used, between = [], 0, 0
        group.append(hole)
        used += between + least
    yield tuple(group)
