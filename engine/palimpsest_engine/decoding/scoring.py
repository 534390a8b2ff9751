"""Score candidates, and the tokens of a text, by the causal encoder's likelihood: one pass for all. Knows no policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from palimpsest_engine.cuda.backend import Continued
from palimpsest_engine.model.forward import encode, head


def normalised(logs: Sequence[float], length_power: float) -> float:
    """Return the log-likelihood of a sequence, divided by (tokens)^`length_power`. Without the division the shortest would
    win. logs: of each token; not empty."""
    score: float = sum(logs) / len(logs) ** length_power
    return score


@torch.inference_mode()
def log_likelihoods(model: Any, cache: Continued, last: int, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return the log-likelihood of each token of each sequence (none of them empty), in nats.

    They follow a context of which the cache (with a row for each) lacks only the token `last`.
    """
    longest = max(map(len, sequences))
    ids = [[last, *sequence, *[last] * (longest - len(sequence))] for sequence in sequences]
    tokens = torch.tensor(ids, device=model.device)
    hidden = encode(model, cache, tokens[:, :-1])
    counted = torch.arange(longest) < torch.tensor([len(sequence) for sequence in sequences])[:, None]
    where = counted.to(model.device)
    logprobs = torch.log_softmax(head(model, hidden[where]), dim=-1)
    each = torch.zeros(where.shape, device=model.device)
    each[where] = logprobs.gather(1, tokens[:, 1:][where].unsqueeze(1)).squeeze(1)
    return [row[: len(sequence)] for row, sequence in zip(each.tolist(), sequences, strict=True)]
