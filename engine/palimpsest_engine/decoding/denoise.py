"""Denoise a canvas: one decoder pass a step, a draft a step. Knows tensors; policy belongs to its callers.

With nothing pinned it draws the same random numbers in the same order as transformers' stock `generate()` and ends in
the same tokens. The sampler is the entropy-bound one of arXiv 2505.24857 as that library parameterises it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.checkpoint.spec import Denoising, Sampling
from palimpsest_engine.cuda.backend import Prefix
from palimpsest_engine.decoding.sampler import Draw, Sampled, forbidden_ids, sample
from palimpsest_engine.model.forward import canvas_head, decode

STOCK = Denoising()


@dataclass(frozen=True, slots=True)
class Canvas:
    """A batch of canvases. tokens `[B, T]`: the pinned ids (anything at hole positions); is_hole `[B, T]`.

    start `[B, T]`: hole tokens to begin with where `start_known [B, T]`; noise everywhere else.
    banned `[V]`: ids no hole may emit. allowed: position to the only ids it may take (for every row).
    overlap: so many of the first positions repeat the end of the context. used `[B, T]`: positions that are there at all,
    None for all; the others fill the batch up.
    """

    tokens: Tensor
    is_hole: Tensor
    banned: Tensor | None = None
    allowed: dict[int, Tensor] = field(default_factory=dict)
    start: Tensor | None = None
    start_known: Tensor | None = None
    overlap: int = 0
    used: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one denoising step, in main memory: the draft `tokens [B, T]` (the likeliest, and what was accepted for
    good), the positions that the sampler has `accepted [B, T]`, the entropy of every position in nats `[B, T]`, the rows that
    have `finished [B]`. holes: where they are now, if slots have become more or fewer."""

    number: int
    tokens: Tensor
    accepted: Tensor
    entropy: Tensor
    finished: Tensor
    holes: tuple[range, ...] | None = None


@torch.inference_mode()
def denoise(
    model: Any,
    cache: Prefix,
    canvas: Canvas,
    sampling: Sampling,
    generator: torch.Generator,
    draw: Draw,
    how: Denoising = STOCK,
) -> Generator[Step, Sequence[int] | None, None]:
    """Denoise a canvas against an encoded prefix (a cache of B rows); yields after every decoder pass.

    A canvas without holes yields nothing. To stop between steps, do not ask for the next. Send row numbers to go on with
    those rows alone, in ascending order (all rows must share their prefix). draw: the way to draw tokens: `as_stock`, or
    `drawn`, which is as random and needs one random number a position instead of one a token. how: the model's way, see
    `Denoising`. Logits exist for the N open positions of all rows only, those that a step decides on; `[N, V]` below.
    """
    if not bool(canvas.is_hole.any()):
        return
    at = State.begin(canvas, model.config.get_text_config().vocab_size, sampling, generator, how)
    past, head = cache.get_seq_length() - canvas.overlap, canvas_head(model)
    for number in range(1, sampling.max_steps + 1):
        positions = torch.arange(
            past, past + at.tokens.shape[1], dtype=torch.int32, device=canvas.tokens.device
        ).unsqueeze(0)
        # 1. Decode, at this step's temperature.
        remaining = sampling.max_steps - number + 1
        temperature = sampling.t_min + (sampling.t_max - sampling.t_min) * (remaining / sampling.max_steps)
        hidden = decode(model, cache, at.current, at.where, at.chances, positions, at.used)
        # 2. Sample, and take the argmax for the draft.
        sampled = sample(
            head(hidden.flatten(0, 1)[at.read_from]),
            cap=model.final_logit_softcapping,
            temperature=temperature,
            top_p=sampling.top_p,
            forbidden=at.forbidden,
            which=at.which,
            draw=draw,
            generator=generator,
            dtype=hidden.dtype,
        )
        chances, argmax = sampled.chances, at.on_canvas(sampled.argmax)
        # 3. Accept the most certain positions. Pins, and what was accepted for good, have no entropy.
        entropy = at.on_canvas(sampled.entropy, at.entropy)
        accepted = accept(at, sampled, entropy, sampling, number)
        # 4. Renoise the rest; pins are imposed again.
        decided = torch.where(accepted, at.on_canvas(sampled.drawn), at.noise())
        following = torch.where(at.open, decided, at.current)
        # 5. A finished row stays as it was.
        if at.some_finished:
            done = at.finished[:, None]
            argmax, following = torch.where(done, at.draft, argmax), torch.where(done, at.current, following)
            entropy = torch.where(done, at.entropy, entropy)
            if at.chances is not None:
                chances = torch.where(at.of_open(at.finished)[:, None], at.chances, chances)
        # 6. Stop test, over hole positions only.
        if how.revises:
            stable = (at.history == argmax).all(-1).all(0)
            confident = entropy.sum(-1) / at.is_hole.sum(-1).clamp_min(1) < sampling.confidence
            at.history = torch.cat((at.history, argmax[None]))[1:] if sampling.stability else at.history
            at.finished = at.finished | (stable & confident)
        else:
            argmax = torch.where(at.open & accepted, following, argmax)
        at.current, at.draft, at.entropy = following, argmax, entropy
        at.chances = chances if how.conditioned else None
        if not how.revises:
            accepted = at.settle(accepted)
        shown = on_host(at.draft, accepted | at.finished[:, None], at.entropy, at.finished)
        step = Step(number, shown[0], shown[1], shown[2], shown[3], at.holes)
        keep = yield step
        finished = step.finished
        if keep is not None:
            at.narrow(keep)
            cache = cache.narrowed(len(keep))
            finished = finished[sorted(keep)]
        at.some_finished = bool(finished.any())
        if bool(finished.all()):
            return


def accept(at: State, sampled: Sampled, entropy: Tensor, sampling: Sampling, number: int) -> Tensor:
    """Return `[B, T]`: True where a step keeps what it has drawn, by the rules of `Sampling`; and at all positions that are
    not open."""
    accepted = ~at.open
    if sampling.entropy_bound is not None:
        accepted = accepted | within_bound(torch.where(at.open, entropy, 0.0), sampling.entropy_bound)
    if sampling.threshold is not None:
        probability = sampled.chances.gather(1, sampled.drawn[:, None])[:, 0]
        accepted = accepted | at.on_canvas(probability > sampling.threshold, accepted)
    if sampling.linear_to is not None:
        left = at.open.sum(-1, keepdim=True)
        before, after = (1.0 - (1.0 - sampling.linear_to) * done / sampling.max_steps for done in (number - 1, number))
        wanted = left if number == sampling.max_steps else (left * (1.0 - after / before)).long()
        unsure = at.on_canvas(-sampled.certainty(sampling.by), torch.full_like(entropy, torch.inf))
        accepted = accepted | (unsure.argsort(dim=-1, stable=True).argsort(dim=-1) < wanted)
    return accepted


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
    """The state between two steps. open `[B, T]`: the positions that a step decides on; where `[N]`: those in the flattened
    canvas; history `[S, B, T]`: the last S drafts; chances `[N, V]`: the last probabilities; entropy `[B, T]`: that of each
    hole position when it was last decided on; forbidden `[K, V]`, kinds `[T]`: as `forbidden_ids` returns them for the
    positions of a row; holes: where they are in the only row, if slots may become more or fewer; how: the model's way."""

    how: Denoising
    tokens: Tensor
    is_hole: Tensor
    used: Tensor | None
    current: Tensor
    draft: Tensor
    history: Tensor
    finished: Tensor
    entropy: Tensor
    vocabulary: int
    generator: torch.Generator
    forbidden: Tensor | None
    kinds: Tensor | None
    open: Tensor
    where: Tensor = field(init=False)
    which: Tensor | None = field(init=False, default=None)
    some_finished: bool = False
    chances: Tensor | None = None
    holes: tuple[range, ...] | None = None

    def __post_init__(self) -> None:
        self.look()

    @classmethod
    def begin(
        cls, canvas: Canvas, vocabulary: int, sampling: Sampling, generator: torch.Generator, how: Denoising
    ) -> State:
        """Put the pins in place, and noise (or the given start) in the holes."""
        tokens, is_hole = canvas.tokens, canvas.is_hole
        current = noise_like(tokens, how, vocabulary, generator)
        open_ = is_hole
        if canvas.start is not None and canvas.start_known is not None:
            current = torch.where(canvas.start_known, canvas.start, current)
            open_ = is_hole if how.revises else is_hole & ~canvas.start_known
        current = torch.where(is_hole, current, tokens)
        history = torch.full((sampling.stability, *tokens.shape), -1, device=tokens.device)
        finished = ~open_.any(-1) & (not how.revises)
        entropy = torch.zeros_like(tokens, dtype=torch.float32)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        forbidden, kinds = forbidden_ids(canvas.banned, canvas.allowed, place, vocabulary)
        begun = current, current, history, finished, entropy, vocabulary, generator, forbidden, kinds, open_
        state = cls(how, tokens, is_hole, canvas.used, *begun)
        if how.grow_id is not None or how.shrink_id is not None:
            assert len(tokens) == 1, "slots become more or fewer in one row only"
            state.holes = tuple(runs(is_hole[0].tolist()))
        return state

    def look(self) -> None:
        """Bring up to date what depends on the open positions."""
        self.where = self.open.flatten().nonzero().squeeze(1)
        self.which = None if self.kinds is None else self.kinds[self.where % self.tokens.shape[1]]

    @property
    def read_from(self) -> Tensor:
        """Return `[N]`: the positions in the flattened canvas whose hidden states say what stands at `where`."""
        if not self.how.shift:
            return self.where
        return self.where - (self.where % self.tokens.shape[1] > 0).long()

    def noise(self) -> Tensor:
        """Return noise `[B, T]`."""
        return noise_like(self.tokens, self.how, self.vocabulary, self.generator)

    def on_canvas(self, values: Tensor, elsewhere: Tensor | None = None) -> Tensor:
        """Return `[B, T]`: values `[N]` at the open positions, and `elsewhere` (or what stands there) at the others."""
        elsewhere = self.current if elsewhere is None else elsewhere
        return elsewhere.flatten().scatter(0, self.where, values).view(self.tokens.shape)

    def of_open(self, rows: Tensor) -> Tensor:
        """Return `[N]`: a value `[B]` per row, for each of its open positions."""
        return rows.repeat_interleave(self.tokens.shape[1])[self.where]

    def settle(self, accepted: Tensor) -> Tensor:
        """Close the positions that were accepted for good; return `[B, T]`, True for all that are closed."""
        self.open = self.open & ~accepted
        if self.holes is not None:
            self._resize()
        self.finished = ~self.open.any(-1)
        self.look()
        return ~self.open

    def _resize(self) -> None:
        """Make two open slots of each that says so, and none of each that says that."""
        grow, shrink = self.how.grow_id, self.how.shrink_id
        assert self.holes is not None
        assert self.how.mask_id is not None
        source, fresh, holes = list[int](), list[bool](), list[range]()
        ids, inside = self.current[0].tolist(), [False] * self.tokens.shape[1]
        for hole in self.holes:
            inside[hole.start : hole.stop] = [True] * len(hole)
        settled = (~self.open[0]).tolist()
        moved = dict[int, int]()
        for place, token in enumerate(ids):
            moved[place] = len(source)
            ended = inside[place] and settled[place]
            copies = 2 if ended and token == grow else 0 if ended and token == shrink else 1
            source += [place] * copies
            fresh += [copies == 2] * copies
        moved[len(ids)] = len(source)
        holes = [range(moved[hole.start], moved[hole.stop]) for hole in self.holes]
        self.holes = tuple(holes)
        at = torch.tensor(source, device=self.tokens.device)
        new = torch.tensor(fresh, device=self.tokens.device).unsqueeze(0)
        for name in ("tokens", "is_hole", "current", "draft", "entropy", "open"):
            setattr(self, name, getattr(self, name)[:, at])
        self.used = None if self.used is None else self.used[:, at]
        self.kinds = None if self.kinds is None else self.kinds[at]
        self.current = self.current.masked_fill(new, self.how.mask_id)
        self.open = self.open | new

    def narrow(self, keep: Sequence[int]) -> None:
        """Go on with these rows alone, in ascending order."""
        rows = torch.tensor(sorted(keep), device=self.tokens.device)
        chosen = self.of_open(torch.zeros_like(self.finished).index_fill(0, rows, True))
        self.chances = None if self.chances is None else self.chances[chosen]
        self.tokens, self.is_hole, self.finished = self.tokens[rows], self.is_hole[rows], self.finished[rows]
        self.current, self.draft, self.history = self.current[rows], self.draft[rows], self.history[:, rows]
        self.entropy, self.open = self.entropy[rows], self.open[rows]
        self.used = None if self.used is None else self.used[rows]
        self.look()


def noise_like(tokens: Tensor, how: Denoising, vocabulary: int, generator: torch.Generator) -> Tensor:
    """Return noise in the shape of `tokens`: uniformly random ids, or the mask."""
    if how.noise == "mask":
        assert how.mask_id is not None
        return torch.full_like(tokens, how.mask_id)
    return torch.randint(0, vocabulary, tokens.shape, generator=generator, device=tokens.device)


def runs(flags: Sequence[bool]) -> Iterator[range]:
    """Yield the ranges of True."""
    at = 0
    for value, group in groupby(flags):
        length = len(list(group))
        if value:
            yield range(at, at + length)
        at += length


def within_bound(entropy: Tensor, bound: float) -> Tensor:
    """Return `[B, T]`: True for the positions of lowest entropy; their sum, without the largest, is within the bound."""
    ordered, order = torch.sort(entropy, dim=-1)
    chosen = torch.cumsum(ordered, dim=-1) - ordered <= bound
    return torch.zeros_like(chosen).scatter(-1, order, chosen)
