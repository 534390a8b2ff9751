"""Denoise a canvas: one decoder pass a step, a draft a step. Knows tensors; policy belongs to its callers.

With nothing pinned it draws the same random numbers in the same order as transformers' stock `generate()` and ends in
the same tokens. The sampler is the entropy-bound one of arXiv 2505.24857 as that library parameterises it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.cuda.backend import Prefix
from palimpsest_engine.decoding.sampler import Draw, forbidden_ids, sample
from palimpsest_engine.model.forward import decode


@dataclass(frozen=True, slots=True)
class Canvas:
    """A batch of canvases. tokens `[B, T]`: the pinned ids (anything at hole positions); is_hole `[B, T]`.

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
    """The result of one denoising step, in main memory: the draft `tokens [B, T]` (argmax), the positions that the sampler
    `accepted [B, T]`, the entropy of every position in nats `[B, T]`, the rows that have `finished [B]`."""

    number: int
    tokens: Tensor
    accepted: Tensor
    entropy: Tensor
    finished: Tensor


@torch.inference_mode()
def denoise(
    model: Any,
    cache: Prefix,
    canvas: Canvas,
    sampling: Sampling,
    generator: torch.Generator,
    draw: Draw,
) -> Generator[Step, Sequence[int] | None, None]:
    """Denoise a canvas against an encoded prefix (a cache of B rows); yields after every decoder pass.

    A canvas without holes yields nothing. To stop between steps, do not ask for the next. Send row numbers to go on with
    those rows alone, in ascending order (all rows must share their prefix). draw: the way to draw tokens: `as_stock`, or
    `drawn`, which is as random and needs one random number a position instead of one a token. Logits exist for the N hole
    positions of all rows only; `[N, V]` below.
    """
    if not bool(canvas.is_hole.any()):
        return
    at = State.begin(canvas, model.config.get_text_config().vocab_size, sampling, generator)
    past, length = cache.get_seq_length(), canvas.tokens.shape[1]
    positions = torch.arange(past, past + length, dtype=torch.int32, device=canvas.tokens.device).unsqueeze(0)
    for number in range(1, sampling.max_steps + 1):
        # 1. Decode, at this step's temperature.
        remaining = sampling.max_steps - number + 1
        temperature = sampling.t_min + (sampling.t_max - sampling.t_min) * (remaining / sampling.max_steps)
        hidden = decode(model, cache, at.current, at.where, at.chances, positions)
        # 2. Sample, and take the argmax for the draft.
        sampled = sample(
            model.lm_head(hidden.flatten(0, 1)[at.where]),
            cap=model.final_logit_softcapping,
            temperature=temperature,
            forbidden=at.forbidden,
            which=at.which,
            draw=draw,
            generator=generator,
            dtype=hidden.dtype,
        )
        chances, argmax = sampled.chances, at.on_canvas(sampled.argmax)
        # 3. Accept the least uncertain positions while their joint entropy stays within the bound. Pins have none.
        entropy = at.on_canvas(sampled.entropy, torch.zeros_like(at.entropy))
        accepted = within_bound(entropy, sampling.entropy_bound)
        # 4. Renoise the rest; pins are imposed again.
        following = torch.where(at.is_hole, torch.where(accepted, at.on_canvas(sampled.drawn), at.noise()), at.tokens)
        # 5. A finished row stays as it was.
        if at.some_finished and at.chances is not None:
            done = at.finished[:, None]
            argmax, following = torch.where(done, at.draft, argmax), torch.where(done, at.current, following)
            chances = torch.where(at.of_holes(at.finished)[:, None], at.chances, chances)
            entropy = torch.where(done, at.entropy, entropy)
        # 6. Stop test, over hole positions only.
        stable = (at.history == argmax).all(-1).all(0)
        confident = entropy.sum(-1) / at.is_hole.sum(-1).clamp_min(1) < sampling.confidence
        at.history = torch.cat((at.history, argmax[None]))[1:] if sampling.stability else at.history
        at.finished = at.finished | (stable & confident)
        at.current, at.draft, at.chances, at.entropy = following, argmax, chances, entropy
        step = Step(number, *on_host(argmax, accepted | at.finished[:, None], entropy, at.finished))
        keep = yield step
        finished = step.finished
        if keep is not None:
            at.narrow(keep)
            cache = cache.narrowed(len(keep))
            finished = finished[sorted(keep)]
        at.some_finished = bool(finished.any())
        if bool(finished.all()):
            return


def on_host(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Bring tensors to main memory by one transfer: the only time that a step waits for a GPU. Ids and float32 pass through
    float64 unchanged."""
    if tensors[0].device.type == "cpu":
        return tensors
    together = torch.cat([each.to(torch.float64).flatten() for each in tensors]).cpu()
    parts = torch.split(together, [each.numel() for each in tensors])
    return tuple(part.to(each.dtype).view(each.shape) for part, each in zip(parts, tensors, strict=True))


@dataclass(slots=True)
class State:
    """The state between two steps. where `[N]`: the hole positions in the flattened canvas; history `[S, B, T]`: the last S
    drafts; chances `[N, V]`: the last probabilities; entropy `[B, T]`: theirs; forbidden `[K, V]`, which `[N]`: the ids that
    may not be emitted, as `forbidden_ids` returns them."""

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
    forbidden: Tensor | None
    which: Tensor | None
    some_finished: bool = False
    chances: Tensor | None = None

    @classmethod
    def begin(cls, canvas: Canvas, vocabulary: int, sampling: Sampling, generator: torch.Generator) -> State:
        """Put the pins in place, and noise (or the given start) in the holes."""
        tokens, is_hole = canvas.tokens, canvas.is_hole
        current = torch.randint(0, vocabulary, tokens.shape, generator=generator, device=tokens.device)
        if canvas.start is not None and canvas.start_known is not None:
            current = torch.where(canvas.start_known, canvas.start, current)
        current = torch.where(is_hole, current, tokens)
        where = is_hole.flatten().nonzero().squeeze(1)
        history = torch.full((sampling.stability, *tokens.shape), -1, device=tokens.device)
        finished = torch.zeros(tokens.shape[0], dtype=torch.bool, device=tokens.device)
        entropy = torch.zeros_like(tokens, dtype=torch.float32)
        forbidden, which = forbidden_ids(canvas.banned, canvas.allowed, where % tokens.shape[1], vocabulary)
        begun = current, current, history, finished, entropy, vocabulary, generator, forbidden, which
        return cls(tokens, is_hole, where, *begun)

    def noise(self) -> Tensor:
        """Return uniformly random tokens `[B, T]`."""
        return torch.randint(0, self.vocabulary, self.tokens.shape, generator=self.generator, device=self.tokens.device)

    def on_canvas(self, values: Tensor, elsewhere: Tensor | None = None) -> Tensor:
        """Return `[B, T]`: values `[N]` at the holes, and `elsewhere` (or the pinned tokens) at the pins."""
        elsewhere = self.tokens if elsewhere is None else elsewhere
        return elsewhere.flatten().scatter(0, self.where, values).view(self.tokens.shape)

    def of_holes(self, rows: Tensor) -> Tensor:
        """Return `[N]`: a value `[B]` per row, for each of its holes."""
        return rows.repeat_interleave(self.tokens.shape[1])[self.where]

    def narrow(self, keep: Sequence[int]) -> None:
        """Go on with these rows alone, in ascending order."""
        rows = torch.tensor(sorted(keep), device=self.tokens.device)
        chosen = self.of_holes(torch.zeros_like(self.finished).index_fill(0, rows, True))
        self.chances = None if self.chances is None else self.chances[chosen]
        self.which = None if self.which is None else self.which[chosen]
        self.tokens, self.is_hole, self.finished = self.tokens[rows], self.is_hole[rows], self.finished[rows]
        self.current, self.draft, self.history = self.current[rows], self.draft[rows], self.history[:, rows]
        self.entropy = self.entropy[rows]
        self.where = self.is_hole.flatten().nonzero().squeeze(1)


def within_bound(entropy: Tensor, bound: float) -> Tensor:
    """Return `[B, T]`: True for the positions of lowest entropy; their sum, without the largest, is within the bound."""
    ordered, order = torch.sort(entropy, dim=-1)
    chosen = torch.cumsum(ordered, dim=-1) - ordered <= bound
    return torch.zeros_like(chosen).scatter(-1, order, chosen)
