"""Writes a hole left to right with the causal encoder: one token a pass, greedily. Knows no canvas and no policy.

For the candidate that a checkpoint may put beside those of diffusion, and for the evaluation's control.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.cache import RollbackCache, encode
from palimpsest_engine.denoise import head

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
) -> list[int]:
    """At most so many tokens after a context of which the cache (of one row) lacks only the token `last`.

    banned `[V]`: ids never written. opening: the only ids that may come first. ended: told what is written after each
    token, says whether that was the last.
    """
    written: list[int] = []
    token = last
    while len(written) < most:
        hidden = encode(model, cache, torch.tensor([[token]], device=model.device))
        logits = head(model, hidden[0, -1]).masked_fill(banned, -torch.inf)
        token = int(logits.argmax()) if opening is None or written else int(opening[logits[opening].argmax()])
        written.append(token)
        if ended(written):
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
    best, found = (0, 0), len(text)
    for at in range(1, len(text) + 1):
        if suffix[0] in " \t" and text[at - 1] in " \t":
            continue
        same = common(text[at:], suffix)
        found, best = max((found, best), (at, (len(same.strip()), len(same))), key=lambda pair: pair[1])
    return text[:found], best[1] >= min(ENOUGH, len(suffix)) and best[0] > 0


def common(a: str, b: str) -> str:
    """The longest common beginning."""
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]
