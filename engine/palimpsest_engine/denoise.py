"""The denoising loop: one decoder pass a step, a draft a step. Knows tensors; policy belongs to its callers.

With nothing pinned it draws the same random numbers in the same order as transformers' stock `generate()` and ends in
the same tokens. The sampler is the entropy-bound one of arXiv 2505.24857 as that library parameterises it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.spec import Sampling


@dataclass(frozen=True, slots=True)
class Canvas:
    """What to denoise. tokens `[B, T]`: the pinned ids (anything at hole positions); is_hole `[B, T]`.

    start `[B, T]`: hole tokens to begin with where `start_known [B, T]`; noise everywhere else.
    banned `[V]`: ids no hole may emit. allowed: position to the only ids it may take (for every row).
    """

    tokens: Tensor
    is_hole: Tensor
    banned: Tensor | None = None
    allowed: dict[int, Tensor] = field(default_factory=dict)
    start: Tensor | None = None
    start_known: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """After one denoising step: the draft `tokens [B, T]` (argmax), what the sampler `accepted [B, T]`, the entropy of
    every position in nats `[B, T]`, and which rows are `finished [B]`."""

    number: int
    tokens: Tensor
    accepted: Tensor
    entropy: Tensor
    finished: Tensor


def constrain(logits: Tensor, canvas: Canvas) -> Tensor:
    """Logits `[B, T, V]` with bans applied and every pin certain: sampler and self-conditioning then see one-hot pins,
    which spend no entropy."""
    if canvas.banned is not None:
        logits = logits.masked_fill(canvas.banned, -torch.inf)
    for position, ids in canvas.allowed.items():
        only = torch.full_like(logits[:, position], -torch.inf)
        only[:, ids] = logits[:, position, ids]
        logits = logits.clone() if canvas.banned is None else logits
        # Rows in which the position is a pin are overwritten below.
        logits[:, position] = only
    if bool(canvas.is_hole.all()):
        return logits
    certain = torch.full_like(logits, -torch.inf).scatter_(2, canvas.tokens.unsqueeze(2), 0.0)
    return torch.where(canvas.is_hole.unsqueeze(2), logits, certain)


@torch.no_grad()
def denoise(
    model: Any, cache: RollbackCache, canvas: Canvas, sampling: Sampling, generator: torch.Generator
) -> Iterator[Step]:
    """Denoise a canvas against an encoded prefix (a cache of B rows); yields after every decoder pass.

    A canvas without holes yields nothing. Stopping between steps is the caller's: just do not ask for the next.
    """
    tokens, is_hole = canvas.tokens, canvas.is_hole
    if not bool(is_hole.any()):
        return
    (rows, length), vocabulary, device = tokens.shape, model.config.get_text_config().vocab_size, tokens.device
    holes = is_hole.sum(-1).clamp_min(1)
    past = cache.get_seq_length()
    positions = torch.arange(past, past + length, dtype=torch.int32, device=device).unsqueeze(0)

    def noise() -> Tensor:
        return torch.randint(0, vocabulary, (rows, length), generator=generator, device=device)

    current = noise()
    if canvas.start is not None and canvas.start_known is not None:
        current = torch.where(canvas.start_known, canvas.start, current)
    current = torch.where(is_hole, current, tokens)
    draft, seen_by_next = current, None
    history = torch.full((sampling.stability, rows, length), -1, device=device)
    finished = torch.zeros(rows, dtype=torch.bool, device=device)
    for number in range(1, sampling.max_steps + 1):
        # 1. Decode, at this step's temperature.
        remaining = sampling.max_steps - number + 1
        temperature = sampling.t_min + (sampling.t_max - sampling.t_min) * (remaining / sampling.max_steps)
        raw = model(
            decoder_input_ids=current,
            past_key_values=cache,
            decoder_position_ids=positions,
            self_conditioning_logits=seen_by_next,
        ).logits
        logits = constrain(raw / temperature, canvas)
        # 2. Sample, and take the argmax for the draft.
        probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
        sampled = torch.multinomial(probabilities.view(-1, vocabulary), 1, generator=generator).view(rows, length)
        argmax = logits.argmax(-1)
        # 3. Accept the least uncertain positions while their joint entropy stays within the bound.
        entropy = entropy_of(logits)
        accepted = within_bound(entropy, sampling.entropy_bound)
        # 4. Renoise the rest; pins are imposed again.
        following = torch.where(accepted, sampled, noise())
        following = torch.where(is_hole, following, tokens)
        # 5. A finished row stays as it was.
        if bool(finished.any()):
            argmax = torch.where(finished[:, None], draft, argmax)
            following = torch.where(finished[:, None], current, following)
            assert seen_by_next is not None
            logits = torch.where(finished[:, None, None], seen_by_next.to(logits.dtype), logits)
            entropy = torch.where(finished[:, None], entropy_of(logits), entropy)
        # 6. Stop test, over hole positions only.
        stable = (history == argmax).all(-1).all(0)
        history = torch.cat((history, argmax[None]))[1:] if sampling.stability else history
        confident = (entropy * is_hole).sum(-1) / holes < sampling.confidence
        finished = finished | (stable & confident)
        current, draft = following, argmax
        seen_by_next = logits.to(model.model.decoder.embed_tokens.weight.dtype)
        yield Step(number, draft, accepted | finished[:, None], entropy, finished)
        if bool(finished.all()):
            return


def entropy_of(logits: Tensor) -> Tensor:
    """Entropy in nats `[B, T]` of logits `[B, T, V]`, operation for operation as `torch.distributions.Categorical`."""
    normalised = logits - logits.logsumexp(-1, keepdim=True)
    probabilities = torch.softmax(normalised, dim=-1)
    return -(normalised.clamp_min(torch.finfo(normalised.dtype).min) * probabilities).sum(-1)


def within_bound(entropy: Tensor, bound: float) -> Tensor:
    """`[B, T]` True for the lowest-entropy positions whose summed entropy, less the largest of them, is within bound."""
    ordered, order = torch.sort(entropy, dim=-1)
    chosen = torch.cumsum(ordered, dim=-1) - ordered <= bound
    return torch.zeros_like(chosen).scatter(-1, order, chosen)
