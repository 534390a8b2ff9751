"""Turn the raw logits of a step into tokens: probabilities, one drawn token a row, the likeliest one, the entropy.

Knows tensors; nothing of canvases or policy. There is a plain form, which computes operation for operation what stock
`generate()` does, and a fused one in `cuda/kernels/sampler.py` for GPUs, which never writes the logits in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from palimpsest_engine.cuda.backend import fused_sampler

Draw = Callable[[Tensor, "torch.Generator | None"], Tensor]


@dataclass(frozen=True, slots=True)
class Sampled:
    """Samples of N rows. chances `[N, V]`: the probabilities, in the requested format; drawn and argmax `[N]`: ids, int64;
    entropy `[N]`: float32, in nats."""

    chances: Tensor
    drawn: Tensor
    argmax: Tensor
    entropy: Tensor

    def certainty(self, by: str) -> Tensor:
        """Return how certain each row is `[N]`, larger for more: by `entropy`, by the `probability` of the drawn token, or by
        the `margin` between the two likeliest ones."""
        if by == "entropy":
            return -self.entropy
        if by == "probability":
            return self.chances.gather(1, self.drawn[:, None])[:, 0]
        first, second = self.chances.topk(2, -1).values.unbind(-1)
        return first - second


def sample(
    logits: Tensor,
    *,
    cap: float | None,
    temperature: float,
    top_p: float = 1.0,
    forbidden: Tensor | None = None,
    which: Tensor | None = None,
    draw: Draw,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> Sampled:
    """Sample from `logits [N, V]` of the language model's head, in its format, not yet capped. They may be overwritten.

    cap: None for none. temperature: 0 to take the likeliest token; the probabilities are those of temperature 1 then. top_p:
    draw from the likeliest tokens that together have so much of the probability; the others get none.
    forbidden, which: as `forbidden_ids` returns them. draw: the way to draw, `drawn` or `as_stock`. dtype: of the
    probabilities. On a GPU the fused form runs, unless `draw` is `as_stock` or the like.
    """
    fused = fused_sampler(logits.device)
    if fused is not None and draw is drawn and cap is not None and temperature and top_p == 1.0:
        chances = torch.empty(logits.shape, dtype=dtype, device=logits.device)
        uniform = uniform_numbers(logits, generator)
        argmax, token, entropy = fused(logits, chances, cap, temperature, forbidden, which, uniform)
        return Sampled(chances, token, argmax, entropy)
    logits = logits.to(torch.float32)
    if cap is not None:
        logits = logits.div_(cap).tanh_().mul_(cap)
    logits = constrained(logits.div_(temperature) if temperature else logits, forbidden, which)
    if top_p < 1.0:
        logits = within_nucleus(logits, top_p)
    chances = torch.softmax(logits, dim=-1)
    highest, argmax = logits.max(-1)
    token = draw(chances, generator) if temperature else argmax
    return Sampled(chances.to(dtype), token, argmax, entropy_of(logits, chances, highest, argmax))


def likeliest(sampled: Sampled, count: int) -> Tensor:
    """Return the `count` likeliest ids of each row and their probabilities `[N, K, 2]`, the argmax first, in float64."""
    chances, ids = sampled.chances.topk(min(count, sampled.chances.shape[1]), -1)
    # Rounded probabilities may be equal where logits are not.
    first = sampled.argmax[:, None]
    ids[:, -1] = torch.where((ids == first).any(-1), ids[:, -1], sampled.argmax)
    order = (ids != first).long().argsort(dim=-1, stable=True)
    return torch.stack([each.gather(-1, order).to(torch.float64) for each in (ids, chances)], -1)


def within_nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Take out of logits `[N, V]`, in place, the tokens after those that together have `top_p` of the probability (arXiv
    1904.09751); the one that reaches it stays."""
    ordered, order = logits.sort(-1, descending=True)
    summed = torch.softmax(ordered, -1).cumsum(-1)
    beyond = torch.zeros_like(logits, dtype=torch.bool)
    beyond[:, 1:] = summed[:, :-1] > top_p
    return logits.masked_fill_(torch.zeros_like(beyond).scatter(-1, order, beyond), torch.finfo(logits.dtype).min)


def forbidden_ids(
    banned: Tensor | None, allowed: Mapping[int, Tensor], position: Tensor, vocabulary: int
) -> tuple[Tensor | None, Tensor | None]:
    """Return (forbidden `[K, V]`, which `[N]`) for N rows at canvas positions `position [N]`.

    Row `which[n]` of `forbidden` is True at the ids that row n may not emit. No `which` means the first row for all.
    banned `[V]`: ids that no row may emit. allowed: position to the only ids it may take, banned ones excepted.
    """
    if banned is None and not allowed:
        return None, None
    first = torch.zeros(vocabulary, dtype=torch.bool, device=position.device) if banned is None else banned
    if not allowed:
        return first.unsqueeze(0), None
    rows, which = [first], torch.zeros_like(position, dtype=torch.int64)
    for only_at, ids in allowed.items():
        which = which.masked_fill_(position == only_at, len(rows))
        rows.append(torch.ones_like(first).index_fill_(0, ids, False) | first)
    return torch.stack(rows), which


def constrained(logits: Tensor, forbidden: Tensor | None, which: Tensor | None) -> Tensor:
    """Take the forbidden ids out of logits `[N, V]`, in place, for the sampler and the self-conditioning alike: they get the
    lowest finite logit, and so the probability 0."""
    if forbidden is None:
        return logits
    return logits.masked_fill_(forbidden[0] if which is None else forbidden[which], torch.finfo(logits.dtype).min)


def as_stock(chances: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw a token `[N]` for each row of probabilities `[N, V]`, with the random numbers of stock `generate()`."""
    return torch.multinomial(chances, 1, generator=generator).squeeze(1)


def drawn(chances: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw a token for each row from one random number: the first token at which the summed probabilities exceed it.

    Takes a tenth of the time of `torch.multinomial` on a CPU, which draws a random number for every token.
    """
    return drawn_at(chances, uniform_numbers(chances, generator))


def uniform_numbers(rows: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return one number in [0, 1) for each row of `[N, V]`: `[N]`, float32."""
    return torch.rand(len(rows), generator=generator, device=rows.device)


def drawn_at(chances: Tensor, uniform: Tensor) -> Tensor:
    """Draw as `drawn` does, from these uniform numbers `[N]`."""
    summed = chances.cumsum(-1)
    total = summed[:, -1:]
    at = uniform.unsqueeze(1) * total
    # Rounded up to the total it would fall behind the last token, which may be one that is banned.
    below = torch.nextafter(total, torch.zeros_like(total))
    return torch.searchsorted(summed, torch.minimum(at, below), right=True).squeeze(1)


def entropy_of(logits: Tensor, chances: Tensor, highest: Tensor, likeliest: Tensor) -> Tensor:
    """Return the entropy in nats `[N]` of logits `[N, V]`, from their softmax, maximum and argmax.

    H = log Z - sum p l, and log Z = max l - log max p; no second pass over the logits for Z.
    """
    surest = chances.gather(-1, likeliest[:, None]).squeeze(-1)
    return (highest - surest.log() - (chances * logits).sum(-1)).clamp_min_(0.0)
