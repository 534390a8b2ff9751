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


@torch.no_grad()
def denoise(
    model: Any, cache: RollbackCache, canvas: Canvas, sampling: Sampling, generator: torch.Generator
) -> Iterator[Step]:
    """Denoise a canvas against an encoded prefix (a cache of B rows); yields after every decoder pass.

    A canvas without holes yields nothing. Stopping between steps is the caller's: just do not ask for the next.
    Logits exist for the N hole positions of all rows only; `[N, V]` below.
    """
    tokens, is_hole = canvas.tokens, canvas.is_hole
    if not bool(is_hole.any()):
        return
    (rows, length), vocabulary, device = tokens.shape, model.config.get_text_config().vocab_size, tokens.device
    where = is_hole.view(-1).nonzero().squeeze(1)
    holes = is_hole.sum(-1).clamp_min(1)
    past = cache.get_seq_length()
    positions = torch.arange(past, past + length, dtype=torch.int32, device=device).unsqueeze(0)

    def noise() -> Tensor:
        return torch.randint(0, vocabulary, (rows, length), generator=generator, device=device)

    def on_canvas(values: Tensor, elsewhere: Tensor) -> Tensor:
        """`[B, T]`: values `[N]` at the holes, `elsewhere` at the pins."""
        return elsewhere.reshape(-1).scatter(0, where, values).view(rows, length)

    current = noise()
    if canvas.start is not None and canvas.start_known is not None:
        current = torch.where(canvas.start_known, canvas.start, current)
    current = torch.where(is_hole, current, tokens)
    draft, logits, conditioning = current, None, None
    nothing = torch.zeros(rows, length, device=device)
    history = torch.full((sampling.stability, rows, length), -1, device=device)
    finished = torch.zeros(rows, dtype=torch.bool, device=device)
    for number in range(1, sampling.max_steps + 1):
        # 1. Decode, at this step's temperature.
        remaining = sampling.max_steps - number + 1
        temperature = sampling.t_min + (sampling.t_max - sampling.t_min) * (remaining / sampling.max_steps)
        hidden = model.model(
            decoder_input_ids=current,
            past_key_values=cache,
            decoder_position_ids=positions,
            self_conditioning_logits=conditioning,
        ).last_hidden_state
        before, logits = logits, constrained(head(model, hidden.view(rows * length, -1)[where]) / temperature, canvas, where)
        # 2. Sample, and take the argmax for the draft.
        probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
        sampled = on_canvas(torch.multinomial(probabilities, 1, generator=generator).squeeze(1), tokens)
        argmax = on_canvas(logits.argmax(-1), tokens)
        # 3. Accept the least uncertain positions while their joint entropy stays within the bound. Pins have none.
        entropy = on_canvas(entropy_of(logits), nothing)
        accepted = within_bound(entropy, sampling.entropy_bound)
        # 4. Renoise the rest; pins are imposed again.
        following = torch.where(is_hole, torch.where(accepted, sampled, noise()), tokens)
        # 5. A finished row stays as it was.
        if bool(finished.any()):
            assert before is not None
            argmax = torch.where(finished[:, None], draft, argmax)
            following = torch.where(finished[:, None], current, following)
            kept = finished.repeat_interleave(length)[where]
            logits = torch.where(kept[:, None], before, logits)
            entropy = on_canvas(entropy_of(logits), nothing)
        # 6. Stop test, over hole positions only.
        stable = (history == argmax).all(-1).all(0)
        history = torch.cat((history, argmax[None]))[1:] if sampling.stability else history
        confident = entropy.sum(-1) / holes < sampling.confidence
        finished = finished | (stable & confident)
        current, draft = following, argmax
        yield Step(number, draft, accepted | finished[:, None], entropy, finished)
        if bool(finished.all()):
            return
        # 7. The next pass is told what this one thought; of the pins it is certain.
        dtype = model.model.decoder.embed_tokens.weight.dtype
        if conditioning is None:
            conditioning = torch.full((rows * length, vocabulary), -torch.inf, dtype=dtype, device=device)
            conditioning.scatter_(1, tokens.view(-1, 1), 0.0)
            conditioning = conditioning.view(rows, length, vocabulary)
        conditioning.view(rows * length, vocabulary)[where] = logits.to(dtype)


def head(model: Any, hidden: Tensor) -> Tensor:
    """Soft-capped logits `[N, V]` in float32 of hidden states `[N, d]`, operation for operation as the model class."""
    cap = model.final_logit_softcapping
    return torch.tanh(model.lm_head(hidden).to(torch.float32) / cap) * cap


def constrained(logits: Tensor, canvas: Canvas, where: Tensor) -> Tensor:
    """Logits `[N, V]` with bans and allowed sets applied: the sampler and the self-conditioning both see these."""
    if canvas.banned is not None:
        logits = logits.masked_fill(canvas.banned, -torch.inf)
    for position, ids in canvas.allowed.items():
        at = where % canvas.tokens.shape[1] == position
        forbidden = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
        forbidden[ids] = False
        logits = logits.masked_fill(at[:, None] & forbidden, -torch.inf)
    return logits


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
