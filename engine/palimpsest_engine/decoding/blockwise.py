"""Write a hole block after block: each is denoised behind all that is before it, then read once more and kept.

Blocks are cut at multiples of so many absolute positions, so the end of the context may share one with the first slots. Knows
no policy. The sampler is that of arXiv 2510.06303.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.checkpoint.spec import Denoising, Sampling
from palimpsest_engine.decoding.autoregressive import Chosen
from palimpsest_engine.decoding.canvas_state import Canvas
from palimpsest_engine.decoding.denoise import Step, denoise
from palimpsest_engine.decoding.sampler import Draw
from palimpsest_engine.model.forward import encode
from palimpsest_engine.model.kv_cache import RollbackCache


def writing_in_blocks(
    model: Any,
    cache: RollbackCache,
    context: Sequence[int],
    most: int,
    banned: Tensor,
    opening: Tensor | None,
    ended: Callable[[list[int]], bool],
    rows: int,
    generator: torch.Generator,
    sampling: Sampling,
    draw: Draw,
    how: Denoising,
    chosen: Sequence[list[Chosen]] = (),
    choices: int = 0,
) -> Iterator[list[list[int]]]:
    """Write at most `most` tokens in each of `rows` rows; yield all rows after each pass. Blocks that are done are in them.

    cache: of that many rows, with all whole blocks of the context; useless afterwards. banned `[V]`: ids never written.
    opening: the only ids that may come first. ended: called with a row after each of its tokens; returns whether that was its
    last. sampling: its steps are those of a block. chosen, choices: as in `writing`, when a block is done.
    """
    assert how.block is not None
    assert how.mask_id is not None
    given, written, over = list(context[cache.get_seq_length() :]), [list[int]() for _ in range(rows)], set[int]()
    allowed = {} if opening is None else {len(given): opening}
    while len(over) < rows and most:
        row = [*given, *[how.mask_id] * (how.block - len(given))]
        tokens = torch.tensor([row] * rows, device=model.device)
        is_hole = (torch.arange(how.block, device=model.device) >= len(given)).expand(rows, -1)
        last: Step | None = None
        for step in denoise(
            model, cache, Canvas(tokens, is_hole, banned, allowed), sampling, generator, draw, how, choices
        ):
            tokens, last = step.tokens, step
            yield written
        for number, ids in enumerate(tokens[:, len(given) :].tolist()):
            for place, token in enumerate(ids if number not in over else (), len(given)):
                written[number].append(token)
                if last is not None and last.likely is not None:
                    likely = last.likely[number, place].tolist()
                    chosen[number].append(Chosen(token, float(last.entropy[number, place]), likely))
                if ended(written[number]) or len(written[number]) == most:
                    over.add(number)
                    break
        if len(over) < rows:
            encode(model, cache, tokens.to(model.device), how.block)
        yield written
        given, allowed = [], {}
