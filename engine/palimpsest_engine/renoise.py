"""Which positions of a broken candidate are noised again. Knows rows and spans; denoising them is its caller's.

None of these ways was better than to draw anew (`resample`), which is what the engine does unless told otherwise
(docs/evaluation.md, docs/adr/0021).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from palimpsest_engine.read_out import ReadOut, Row
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
