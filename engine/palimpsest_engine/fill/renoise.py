"""Which positions begin as noise where something stands already: in a hole, or in a broken candidate. Knows rows and
spans; denoising them is its caller's.

None of the ways to repair a candidate was better than to draw anew (`resample`), which is what the engine does unless told
otherwise (docs/evaluation.md, docs/adr/0021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from palimpsest_engine.decoding.denoise import Canvas
from palimpsest_engine.fill.detokenize import PINNING, ReadOut, Row
from palimpsest_engine.request import Verdict

Repair = Literal["parser", "confidence", "random", "resample", "none"]
REPAIRS: tuple[Repair, ...] = get_args(Repair)


def under_the_parser(read: ReadOut, row: Row, verdict: Verdict) -> Tensor:
    """`[T]`: True where the gate found something bad, and at the neighbours."""
    broken = torch.zeros_like(row.tokens, dtype=torch.bool)
    for position in read.positions(row, verdict.bad):
        broken[max(0, position - 1) : position + 2] = True
    return broken


def chosen(repair: Repair, broken: Tensor, row: Row, read: ReadOut, generator: torch.Generator) -> Tensor:
    """`[T]`: as many positions as are broken, chosen as the strategy does.

    parser: these. confidence: those of the highest entropy. random: a run anywhere in what is written.
    """
    if repair == "parser":
        return broken
    written = torch.tensor(read.written(row), device=broken.device)
    count = max(1, int(broken[written].sum()))
    if repair == "confidence" and row.entropy is not None:
        picked = written[row.entropy[written].topk(count).indices]
    else:
        first = int(torch.randint(len(written) - count + 1, (1,), generator=generator, device=generator.device))
        picked = written[first : first + count]
    return torch.zeros_like(broken).index_fill(0, picked, True)


def seeded(
    canvas: Canvas,
    spans: Sequence[tuple[range, ...]],
    present: Sequence[int],
    strength: float,
    generator: torch.Generator,
) -> Canvas:
    """The canvas of one hole, to begin with the tokens that stand there, all but about `strength` of them; the rest is noise.

    Up to a strength of a half those that are kept are pinned: a sampler left free would rewrite everything.
    """
    start, known = canvas.tokens.clone(), torch.zeros_like(canvas.is_hole)
    for row, (span,) in enumerate(spans):
        ids = present[: len(span)]
        start[row, span.start : span.start + len(ids)] = torch.tensor(ids, device=start.device)
        known[row, span.start : span.start + len(ids)] = True
    draw = torch.rand(known.shape, generator=generator, device=known.device)
    known &= draw >= strength
    if strength > PINNING:
        return replace(canvas, start=start, start_known=known)
    return replace(canvas, tokens=torch.where(known, start, canvas.tokens), is_hole=canvas.is_hole & ~known)
