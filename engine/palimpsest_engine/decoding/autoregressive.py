"""Write a hole left to right with the causal encoder: a pass a token, or fewer with guesses. Knows no canvas, no policy.

A checkpoint may rank such candidates with those of diffusion; the evaluation's control writes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.decoding.sampler import drawn_at
from palimpsest_engine.model.forward import encode, head
from palimpsest_engine.model.kv_cache import RollbackCache

TEMPERATURE = 0.5
Likely = Sequence[Sequence[float]]  # pairs of an id and its probability, the likeliest first


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token that was written. entropy: of its place, in nats. likely: what else could have been written there."""

    token: int
    entropy: float = 0.0
    likely: Likely = ()


def write(*arguments: Any, **options: Any) -> list[list[int]]:
    """Write as `writing` does, and return the rows."""
    *_, rows = [[]], *writing(*arguments, **options)
    return rows


@torch.inference_mode()
def writing(
    model: Any,
    cache: RollbackCache,
    last: int,
    most: int,
    banned: Tensor,
    opening: Tensor | None = None,
    ended: Callable[[list[int]], bool] = lambda written: False,
    rows: int = 1,
    generator: torch.Generator | None = None,
    draft: Callable[[list[int]], Sequence[int]] = lambda written: (),
    logs: Sequence[list[float]] = (),
    chosen: Sequence[list[Chosen]] = (),
    choices: int = 0,
    temperature: float | None = None,
) -> Iterator[list[list[int]]]:
    """Write at most `most` tokens in each of `rows` rows; yield all rows after each pass. At least one pass is made.

    They follow a context of which the cache (with that batch) lacks only the token `last`. The cache is useless afterwards.
    The first row takes the most likely token each time; the others sample, at `TEMPERATURE`. With a temperature of the
    caller's all sample at that, or take the most likely token each if it is 0. banned `[V]`: ids never
    written. opening: the only ids that may come first. ended: called with a row after each of its tokens; returns whether
    that was its last. draft: called with a row before a pass; guesses the tokens that follow. The pass checks the whole
    guess and keeps the beginning that it would have written anyway, so guesses save passes and change nothing. logs: a list
    for each of the first rows, to which the log-likelihood of each of its tokens is added, in nats. chosen: a list for each
    row, to which each of its tokens is added with so many `choices`, if that is not 0.
    """
    first = banned if opening is None else torch.ones_like(banned).index_fill(0, opening, False)
    sure = 1 if temperature is None else 0 if temperature else rows  # rows that take the most likely token
    luck = torch.rand((most, rows - sure), generator=generator, device=model.device)  # as many numbers without guesses
    written, going = [list[int]() for _ in range(rows)], list(range(rows)) if most else []
    context = cache.get_seq_length()
    while going:
        guesses = [list(draft(written[row]))[: most - len(written[row]) - 1] for row in going]
        held = cache.get_seq_length() - context  # the cache has so many of `last` and what was written, in every row
        fed = [[last, *written[row], *guess][held:] for row, guess in zip(going, guesses, strict=True)]
        width = max(map(len, fed))
        tokens = torch.tensor([ids + [last] * (width - len(ids)) for ids in fed], device=model.device)
        asked = [
            (line, row, number)
            for line, (row, guess) in enumerate(zip(going, guesses, strict=True))
            for number in range(len(written[row]), len(written[row]) + len(guess) + 1)
        ]
        line, row_of, number = torch.tensor(asked, device=model.device).T
        logits = head(model, encode(model, cache, tokens)[line, number - held])
        logits = logits.masked_fill(torch.where((number == 0)[:, None], first, banned), -torch.inf)
        likeliest, by_chance = logits.argmax(-1), row_of >= sure
        if rows > sure:
            chances = torch.softmax(logits[by_chance] / (temperature or TEMPERATURE), dim=-1)
            likeliest[by_chance] = drawn_at(chances, luck[number[by_chance], row_of[by_chance] - sure])
        found = iter(_logs(logits, likeliest)) if logs else repeat(0.0)
        seen = iter(_seen(logits, choices)) if choices else repeat((0.0, ()))
        answers, over = iter(likeliest.tolist()), set[int]()
        for row, guess in zip(going, guesses, strict=True):
            answer = [(next(answers), next(found), next(seen)) for _ in range(len(guess) + 1)]
            for (token, log, (entropy, likely)), guessed in zip(answer, [*guess, None], strict=True):
                written[row].append(token)
                if row < len(logs):
                    logs[row].append(log)
                if choices:
                    chosen[row].append(Chosen(token, entropy, likely))
                if ended(written[row]) or len(written[row]) == most:
                    over.add(row)
                if row in over or token != guessed:
                    break
        left, least = [row for row in going if row not in over], context
        if len(left) < len(going):
            cache = cache.narrowed(len(left))  # all rows have the same context; what comes after it is fed again
        elif left:
            least += min(len(written[row]) for row in left)
        for layer in cache.layers:
            layer.crop(least - layer.get_seq_length())
        going = left
        yield written


def _logs(logits: Tensor, tokens: Tensor) -> list[float]:
    """Return the log-likelihood of a token in each row of logits `[rows, V]`."""
    found: list[float] = (logits.gather(1, tokens[:, None]).squeeze(1) - logits.logsumexp(-1)).tolist()
    return found


def _seen(logits: Tensor, choices: int) -> list[tuple[float, Likely]]:
    """Return the entropy of each row of logits `[rows, V]` in nats, and its likeliest ids."""
    chances = torch.softmax(logits.to(torch.float32), dim=-1)
    likeliest = chances.topk(min(choices, chances.shape[-1]), -1)
    ids, probabilities = likeliest.indices.tolist(), likeliest.values.tolist()
    pairs = [list(zip(*row, strict=True)) for row in zip(ids, probabilities, strict=True)]
    return list(zip(torch.special.entr(chances).sum(-1).tolist(), pairs, strict=True))
