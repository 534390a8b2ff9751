"""Hold what a denoising run knows between two steps: tokens, open slots, and where holes are that grow and shrink.

Knows tensors; `denoise.py` decides what happens in a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby

import torch
from torch import Tensor

from palimpsest_engine.checkpoint.spec import Denoising, Sampling
from palimpsest_engine.decoding.sampler import forbidden_ids


@dataclass(frozen=True, slots=True)
class Canvas:
    """A batch of canvases. tokens `[B, T]`: the pinned ids (anything at hole positions); is_hole `[B, T]`.

    start `[B, T]`: hole tokens to begin with where `start_known [B, T]`; noise everywhere else.
    banned `[V]`: ids no hole may emit. allowed: position to the only ids it may take (for every row).
    overlap: so many of the first positions repeat the end of the context. used `[B, T]`: positions that are there at all,
    None for all; the others fill the batch up. holes: where they are in the only row, pins in them included, if slots may
    become more or fewer; None for the runs of `is_hole`.
    """

    tokens: Tensor
    is_hole: Tensor
    banned: Tensor | None = None
    allowed: dict[int, Tensor] = field(default_factory=dict)
    start: Tensor | None = None
    start_known: Tensor | None = None
    overlap: int = 0
    used: Tensor | None = None
    holes: tuple[range, ...] | None = None


@dataclass(slots=True)
class State:
    """The state between two steps. open `[B, T]`: the positions that a step decides on; where `[N]`: those in the flattened
    canvas; history `[S, B, T]`: the last S drafts; chances `[N, V]`: the last probabilities; entropy `[B, T]`: that of each
    hole position when it was last decided on; forbidden `[K, V]`, kinds `[T]`: as `forbidden_ids` returns them for the
    positions of a row; holes: where they are in the only row, if slots may become more or fewer; grown: how often one has
    become two; likely `[B, T, K, 2]`: the likeliest ids and their probabilities, of each hole position when it was last
    decided on, if they are to be shown; how: the model's way."""

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
    grown: int = 0
    likely: Tensor | None = None

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
            open_ = is_hole & ~canvas.start_known if how.lasts else is_hole
        current = torch.where(is_hole, current, tokens)
        history = torch.full((sampling.remembered, *tokens.shape), -1, device=tokens.device)
        finished = ~open_.any(-1) & how.lasts
        entropy = torch.zeros_like(tokens, dtype=torch.float32)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        forbidden, kinds = forbidden_ids(canvas.banned, canvas.allowed, place, vocabulary)
        begun = current, current, history, finished, entropy, vocabulary, generator, forbidden, kinds, open_
        state = cls(how, tokens, is_hole, canvas.used, *begun)
        if how.grow_id is not None or how.shrink_id is not None:
            assert len(tokens) == 1, "slots become more or fewer in one row only"
            state.holes = tuple(runs(is_hole[0].tolist())) if canvas.holes is None else canvas.holes
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

    def note(self, likely: Tensor) -> None:
        """Keep the likeliest tokens `[N, K, 2]` of the open positions; rows that had finished keep those they have."""
        if self.likely is None:
            self.likely = likely.new_zeros(*self.tokens.shape, *likely.shape[1:])
        going = ~self.of_open(self.finished)
        places = self.likely.flatten(0, 1).index_copy(0, self.where[going], likely[going])
        self.likely = places.view(self.likely.shape)

    def barred(self) -> Tensor | None:
        """Return `forbidden` as it is for the next step: no slot grows any more where there are as many as may be."""
        longest, grow = self.how.longest, self.how.grow_id
        if self.holes is None or longest is None or grow is None:
            return self.forbidden
        if sum(map(len, self.holes)) < longest and self.grown < longest:
            return self.forbidden
        barred = self.tokens.new_zeros(1, self.vocabulary, dtype=torch.bool)
        barred = barred if self.forbidden is None else self.forbidden.clone()
        barred[:, grow] = True
        return barred

    def settle(self, accepted: Tensor) -> Tensor:
        """Close the positions that were accepted for good; return `[B, T]`, True for all that are closed."""
        new = accepted & self.open
        self.open = self.open & ~accepted
        if self.holes is not None:
            self._resize(new[0].tolist())
        self.finished = ~self.open.any(-1)
        self.look()
        return ~self.open

    def _resize(self, new: Sequence[bool]) -> None:
        """Make two open slots of each that became `grow_id`, and none of each that became `shrink_id`. new: the slots that
        were accepted in this step."""
        grow, shrink = self.how.grow_id, self.how.shrink_id
        assert self.holes is not None
        assert self.how.mask_id is not None
        ids, still_open = self.current[0].tolist(), self.open[0].tolist()
        copies = [1] * len(ids)
        for hole in self.holes:
            gone = False
            for place in hole:
                if new[place]:
                    copies[place] = 2 if ids[place] == grow else 0 if ids[place] == shrink else 1
                    gone |= copies[place] == 0 and self.how.shrinks_rest
                elif gone and still_open[place]:
                    copies[place] = 0
        moved = [0, *accumulate(copies)]
        self.holes = tuple(range(moved[hole.start], moved[hole.stop]) for hole in self.holes)
        self.grown += copies.count(2)
        source = [place for place, count in enumerate(copies) for _ in range(count)]
        at = torch.tensor(source, device=self.tokens.device)
        fresh = torch.tensor([copies[place] == 2 for place in source], device=self.tokens.device).unsqueeze(0)
        for name in ("tokens", "is_hole", "current", "draft", "entropy", "open"):
            setattr(self, name, getattr(self, name)[:, at])
        self.likely = None if self.likely is None else self.likely[:, at]
        self.used = None if self.used is None else self.used[:, at]
        self.kinds = None if self.kinds is None else self.kinds[at]
        self.current = self.current.masked_fill(fresh, self.how.mask_id)
        self.open = self.open | fresh

    def narrow(self, keep: Sequence[int]) -> None:
        """Go on with these rows alone, in ascending order."""
        rows = torch.tensor(sorted(keep), device=self.tokens.device)
        chosen = self.of_open(torch.zeros_like(self.finished).index_fill(0, rows, True))
        self.chances = None if self.chances is None else self.chances[chosen]
        self.tokens, self.is_hole, self.finished = self.tokens[rows], self.is_hole[rows], self.finished[rows]
        self.current, self.draft, self.history = self.current[rows], self.draft[rows], self.history[:, rows]
        self.entropy, self.open = self.entropy[rows], self.open[rows]
        self.used = None if self.used is None else self.used[rows]
        self.likely = None if self.likely is None else self.likely[rows]
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
