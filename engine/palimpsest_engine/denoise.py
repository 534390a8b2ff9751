"""The denoising loop: one decoder pass a step, a draft a step. Knows tensors; policy belongs to its callers.

With nothing pinned it draws the same random numbers in the same order as transformers' stock `generate()` and ends in
the same tokens. The sampler is the entropy-bound one of arXiv 2505.24857 as that library parameterises it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.passes import decode, head
from palimpsest_engine.spec import Sampling

if TYPE_CHECKING:
    from palimpsest_engine.shared import SharedPrefix

Draw = Callable[[Tensor, "torch.Generator | None"], Tensor]


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


@torch.inference_mode()
def denoise(
    model: Any,
    cache: RollbackCache | SharedPrefix,
    canvas: Canvas,
    sampling: Sampling,
    generator: torch.Generator,
    draw: Draw,
) -> Generator[Step, Sequence[int] | None, None]:
    """Denoise a canvas against an encoded prefix (a cache of B rows); yields after every decoder pass.

    A canvas without holes yields nothing. Stopping between steps is the caller's: just do not ask for the next. Sending
    row numbers goes on with those rows alone, in ascending order (all rows must share their prefix). draw: how a token is
    drawn: `as_stock`, or `drawn`, which is as random and needs one random number a position instead of one a token.
    Logits exist for the N hole positions of all rows only; `[N, V]` below.
    """
    at = State.begin(canvas, model.config.get_text_config().vocab_size, sampling, generator)
    past, length = cache.get_seq_length(), canvas.tokens.shape[1]
    positions = torch.arange(past, past + length, dtype=torch.int32, device=canvas.tokens.device).unsqueeze(0)
    if not bool(canvas.is_hole.any()):
        return
    for number in range(1, sampling.max_steps + 1):
        # 1. Decode, at this step's temperature.
        remaining = sampling.max_steps - number + 1
        temperature = sampling.t_min + (sampling.t_max - sampling.t_min) * (remaining / sampling.max_steps)
        hidden = decode(model, cache, at.current, at.where, at.chances, positions)
        logits = head(model, hidden.flatten(0, 1)[at.where]).div_(temperature)
        logits = constrained(logits, canvas, at.where % length)
        # 2. Sample, and take the argmax for the draft.
        chances = torch.softmax(logits, dim=-1)
        sampled = at.on_canvas(draw(chances, generator))
        highest, likeliest = logits.max(-1)
        argmax = at.on_canvas(likeliest)
        # 3. Accept the least uncertain positions while their joint entropy stays within the bound. Pins have none.
        entropy = at.on_canvas(entropy_of(logits, chances, highest, likeliest), torch.zeros_like(at.entropy))
        accepted = within_bound(entropy, sampling.entropy_bound)
        # 4. Renoise the rest; pins are imposed again.
        following = torch.where(at.is_hole, torch.where(accepted, sampled, at.noise()), at.tokens)
        # 5. A finished row stays as it was.
        done = at.finished[:, None]
        if bool(done.any()) and at.chances is not None:
            argmax, following = torch.where(done, at.draft, argmax), torch.where(done, at.current, following)
            chances = torch.where(at.of_holes(at.finished)[:, None], at.chances, chances)
            entropy = torch.where(done, at.entropy, entropy)
        # 6. Stop test, over hole positions only.
        stable = (at.history == argmax).all(-1).all(0)
        confident = entropy.sum(-1) / at.is_hole.sum(-1).clamp_min(1) < sampling.confidence
        at.history = torch.cat((at.history, argmax[None]))[1:] if sampling.stability else at.history
        at.finished = at.finished | (stable & confident)
        at.current, at.draft, at.chances, at.entropy = following, argmax, chances, entropy
        keep = yield Step(number, argmax, accepted | at.finished[:, None], entropy, at.finished)
        if keep is not None:
            at.narrow(keep)
            cache = cache.narrowed(len(keep))
        if bool(at.finished.all()):
            return


@dataclass(slots=True)
class State:
    """What one step hands to the next. where `[N]`: the hole positions in the flattened canvas; history `[S, B, T]`: the
    last S drafts; chances `[N, V]`: the last probabilities; entropy `[B, T]`: theirs."""

    tokens: Tensor
    is_hole: Tensor
    where: Tensor
    current: Tensor
    draft: Tensor
    history: Tensor
    finished: Tensor
    entropy: Tensor
    vocabulary: int
    generator: torch.Generator
    chances: Tensor | None = None

    @classmethod
    def begin(cls, canvas: Canvas, vocabulary: int, sampling: Sampling, generator: torch.Generator) -> State:
        """Pins in place, noise (or the given start) in the holes."""
        tokens, is_hole = canvas.tokens, canvas.is_hole
        current = torch.randint(0, vocabulary, tokens.shape, generator=generator, device=tokens.device)
        if canvas.start is not None and canvas.start_known is not None:
            current = torch.where(canvas.start_known, canvas.start, current)
        current = torch.where(is_hole, current, tokens)
        where = is_hole.flatten().nonzero().squeeze(1)
        history = torch.full((sampling.stability, *tokens.shape), -1, device=tokens.device)
        finished = torch.zeros(tokens.shape[0], dtype=torch.bool, device=tokens.device)
        entropy = torch.zeros_like(tokens, dtype=torch.float32)
        return cls(tokens, is_hole, where, current, current, history, finished, entropy, vocabulary, generator)

    def noise(self) -> Tensor:
        """Uniform tokens `[B, T]`."""
        return torch.randint(0, self.vocabulary, self.tokens.shape, generator=self.generator, device=self.tokens.device)

    def on_canvas(self, values: Tensor, elsewhere: Tensor | None = None) -> Tensor:
        """`[B, T]`: values `[N]` at the holes, and `elsewhere` (or the pinned tokens) at the pins."""
        elsewhere = self.tokens if elsewhere is None else elsewhere
        return elsewhere.flatten().scatter(0, self.where, values).view(self.tokens.shape)

    def of_holes(self, rows: Tensor) -> Tensor:
        """`[N]`: a value `[B]` per row, for each of its holes."""
        return rows.repeat_interleave(self.tokens.shape[1])[self.where]

    def narrow(self, keep: Sequence[int]) -> None:
        """Go on with these rows alone, in ascending order."""
        rows = torch.tensor(sorted(keep), device=self.tokens.device)
        if self.chances is not None:
            chosen = torch.zeros_like(self.finished).index_fill(0, rows, True)
            self.chances = self.chances[self.of_holes(chosen)]
        self.tokens, self.is_hole, self.finished = self.tokens[rows], self.is_hole[rows], self.finished[rows]
        self.current, self.draft, self.history = self.current[rows], self.draft[rows], self.history[:, rows]
        self.entropy = self.entropy[rows]
        self.where = self.is_hole.flatten().nonzero().squeeze(1)


def as_stock(chances: Tensor, generator: torch.Generator | None) -> Tensor:
    """A token `[N]` for each row of probabilities `[N, V]`, with the random numbers that stock `generate()` takes."""
    return torch.multinomial(chances, 1, generator=generator).squeeze(1)


def drawn(chances: Tensor, generator: torch.Generator | None) -> Tensor:
    """The same from one random number a row: the first token at which the summed probabilities exceed it.

    A tenth of the time of `torch.multinomial` on a CPU, which draws a random number for every token.
    """
    summed = chances.cumsum(-1)
    total = summed[:, -1:]
    at = torch.rand(total.shape, generator=generator, device=chances.device) * total
    # Rounded up to the total it would fall behind the last token, which may be one that is banned.
    below = torch.nextafter(total, torch.zeros_like(total))
    return torch.searchsorted(summed, torch.minimum(at, below), right=True).squeeze(1)


def constrained(logits: Tensor, canvas: Canvas, position: Tensor) -> Tensor:
    """Logits `[N, V]` of canvas positions `[N]` with bans and allowed sets applied, in place: the sampler and the
    self-conditioning both see these. What may not be is as unlikely as a number can say, and has the probability 0."""
    never = torch.finfo(logits.dtype).min
    if canvas.banned is not None:
        logits = logits.masked_fill_(canvas.banned, never)
    for only_at, ids in canvas.allowed.items():
        forbidden = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
        forbidden[ids] = False
        logits = logits.masked_fill_((position == only_at)[:, None] & forbidden, never)
    return logits


def entropy_of(logits: Tensor, chances: Tensor, highest: Tensor, likeliest: Tensor) -> Tensor:
    """Entropy in nats `[N]` of logits `[N, V]`, from what is known of them: their softmax, maximum and argmax.

    H = log Z - sum p l, and log Z = max l - log max p; no second pass over the logits for Z.
    """
    surest = chances.gather(-1, likeliest[:, None]).squeeze(-1)
    return (highest - surest.log() - (chances * logits).sum(-1)).clamp_min_(0.0)


def within_bound(entropy: Tensor, bound: float) -> Tensor:
    """`[B, T]` True for the lowest-entropy positions whose summed entropy, less the largest of them, is within bound."""
    ordered, order = torch.sort(entropy, dim=-1)
    chosen = torch.cumsum(ordered, dim=-1) - ordered <= bound
    return torch.zeros_like(chosen).scatter(-1, order, chosen)
