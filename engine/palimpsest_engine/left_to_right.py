"""Writes a hole left to right with the causal encoder: one token a pass. Knows no canvas and no policy.

For candidates that a checkpoint may put beside those of diffusion, and for the evaluation's control.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.denoise import drawn
from palimpsest_engine.passes import encode, head

TEMPERATURE = 0.5
ENOUGH = 12  # code points of the suffix, written again, that leave no doubt where the middle ended


@torch.inference_mode()
def write(
    model: Any,
    cache: RollbackCache,
    last: int,
    most: int,
    banned: Tensor,
    opening: Tensor | None = None,
    ended: Callable[[list[int]], bool] = lambda written: False,
    rows: int = 1,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """At most so many tokens in each of so many rows, after a context of which the cache (with that batch) lacks only the
    token `last`.

    The first row takes the most likely token each time; those after it sample, at `TEMPERATURE`. banned `[V]`: ids never
    written. opening: the only ids that may come first. ended: told what a row has after each of its tokens, says whether
    that was its last.
    """
    first = banned if opening is None else torch.ones_like(banned).index_fill(0, opening, False)
    written = [list[int]() for _ in range(rows)]
    going, following = [True] * rows, torch.full((rows, 1), last, device=model.device)
    for number in range(most):
        logits = head(model, encode(model, cache, following)[:, -1])
        logits = logits.masked_fill(banned if number else first, -torch.inf)
        following = logits.argmax(-1, keepdim=True)
        if rows > 1:
            chances = torch.softmax(logits[1:] / TEMPERATURE, dim=-1)
            following[1:, 0] = drawn(chances, generator)
        for row, token in enumerate(following.flatten().tolist()):
            if going[row]:
                written[row].append(token)
                going[row] = not ended(written[row])
        if not any(going):
            break
    return written


def middle_of(text: str, suffix: str) -> tuple[str, bool]:
    """(what was written before it went over into the suffix, whether that is beyond doubt).

    The place is where the most of the suffix follows, what is not blank counting first; the first of equals. It is never
    the beginning, nor inside a run of blanks. Before an empty suffix the middle is a line.
    """
    if not suffix:
        line, end, _ = text.partition("\n")
        return line + end, bool(end)
    best, found, at = (0, 0), len(text), text.find(suffix[0], 1)
    while at > 0:
        if not (suffix[0] in " \t" and text[at - 1] in " \t"):
            same = common(text[at : at + len(suffix)], suffix)
            found, best = max((found, best), (at, (len(same.strip()), len(same))), key=lambda pair: pair[1])
        at = text.find(suffix[0], at + 1)
    return text[:found], best[1] >= min(ENOUGH, len(suffix)) and best[0] > 0


def common(a: str, b: str) -> str:
    """The longest common beginning."""
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]
