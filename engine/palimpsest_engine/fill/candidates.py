"""Write the candidates of one canvas and rank them: hole sizes denoised as one batch, and lines written left to right.

Yields a `Draft` per denoising step. Knows no syntax; its caller judges the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import torch
from torch import Tensor

from palimpsest_engine.decoding.autoregressive import Chosen
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import drawn
from palimpsest_engine.decoding.scoring import log_likelihoods
from palimpsest_engine.errors import FillCancelled
from palimpsest_engine.fill.detokenize import Candidate, Detokenizer
from palimpsest_engine.fill.plan import Plan
from palimpsest_engine.fill.ranking import Ranking
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.fill.start import Start, seeded
from palimpsest_engine.fill.tracing import Trace
from palimpsest_engine.fill.writer import Writer
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.layout import Layout
from palimpsest_engine.prompt.pieces import plain
from palimpsest_engine.request import Draft, FillRequest

DRAWN = 4  # texts written by chance and by likelihood where the likeliest will not do


class Candidates:
    """Candidates for one request, over the encoded context in `cache`. nfe: passes of the model so far."""

    def __init__(
        self,
        resources: Resources,
        request: FillRequest,
        cache: PrefixCache,
        read: Detokenizer,
        trace: Trace,
        start: Start,
        cancelled: Callable[[], bool],
    ) -> None:
        self.resources, self.request, self.cache, self.read = resources, request, cache, read
        self.trace, self.start = trace, start
        self.spec, self.tokens, self.model = resources.spec, resources.tokens, resources.model
        self.cancelled = cancelled
        self.generator = torch.Generator(self.model.device).manual_seed(request.seed)
        self.nfe = 0
        self.ranking = Ranking(resources, request, cache, read)
        self.redrew = self.seeded = False
        # The likeliest text is the same each time, and so is what a canvas begins with.
        self.again = self.spec.sampling.again if self.spec.sampling.t_max and not request.start else 0

    def check_cancelled(self) -> None:
        """Raise `FillCancelled` if the request was cancelled."""
        if self.cancelled():
            raise FillCancelled("The fill was cancelled.")

    def block(self, layout: Layout) -> Generator[Draft, None, Layout]:
        """Write one whole canvas of a long hole, commit it to the cache, and return the layout that continues after it."""
        size, sides = self.spec.canvas, self.resources.sides
        before, behind = self._before(layout), layout.right if sides else ()
        ids = torch.tensor([[*before, *[layout.end] * size, *behind]], device=self.model.device)
        hole = range(len(before), len(before) + size)
        is_hole = torch.zeros_like(ids, dtype=torch.bool)
        is_hole[:, hole.start : hole.stop] = True
        healing, overlap = self._healing(layout, hole.start), 0 if sides else len(before)
        canvas = Canvas(ids, is_hole, self.resources.all_banned, healing, overlap=overlap)
        self.trace.begin()
        (written,) = yield from self._steps(canvas, [(hole,)])
        block = written.tokens[hole.start : hole.stop].tolist()
        self.read.opening += block
        if sides:
            return replace(layout, left=(*layout.left, *block)[-self.spec.context :], healed="")
        committed = (*layout.context, *block)
        self.cache.encode(committed)
        return replace(layout, context=committed, healed="")

    def ranked(self, layout: Layout, plan: Plan) -> Generator[Draft, None, list[Candidate]]:
        """Write all candidates of a plan; the best first."""
        self.trace.begin()
        if self.resources.writes(self.request):
            return self._ranked(layout, (yield from self._written(layout, self.request.candidates)))
        found = yield from self._denoised(layout, plan)
        if plan.lines and not self.resources.sides:
            lines = None if self.resources.ends_itself else 1
            found += yield from self._written(layout, plan.lines, lines, others=found)
        return self._ranked(layout, self._sure(found))

    def _ranked(self, layout: Layout, found: list[Candidate]) -> list[Candidate]:
        """Rank candidates; the best first."""
        with self.trace.stage("rank"):
            ranked = self.ranking.rank(layout, found)
        return self.trace.ranked(ranked)

    def _written(
        self, layout: Layout, count: int, lines: int | None = None, others: Sequence[Candidate] = ()
    ) -> Generator[Draft, None, list[Candidate]]:
        """Write the one hole left to right, `count` times. others: denoised candidates, after which no drafts are shown,
        and no more than `written_passes` passes made."""
        writer = Writer(
            self.resources, self.request, layout, self.generator, [self.read.ids(each)[0] for each in others]
        )
        whole = self.spec.denoising.block is not None
        branch = self.cache.cache.branch(count, None if whole else len(layout.context) - 1)
        texts, logs = [list[int]() for _ in range(count)], [list[float]() for _ in range(count)]
        numbers, chosen = self.trace.numbers(count), [list[Chosen]() for _ in range(count)]
        self.check_cancelled()
        limit = self.spec.written_passes if others else 0
        for number, texts in enumerate(
            self.trace.timed("write", writer.steps(branch, count, lines, logs, chosen=chosen)), 1
        ):
            self.nfe += 1
            if limit and number > limit:
                self.trace.drop(*numbers)
                return []
            frame = self.trace.written(numbers, texts, writer.middle, chosen, self.read)
            if not others:
                yield self.trace.shown(self.read.written(self.nfe, writer.middle(texts[0])), frame)
            elif frame is not None:
                yield self.trace.again(self.nfe, frame)
            self.check_cancelled()
        if (frame := self.trace.written(numbers, texts, writer.middle, chosen, self.read, last=True)) is not None:
            yield self.trace.again(self.nfe, frame)
        return [
            replace(self._candidate(layout, writer.middle(ids)), logs=tuple(each), lane=number)
            for number, ids, each in zip(numbers, texts, logs, strict=True)
        ]

    def _candidate(self, layout: Layout, ids: Sequence[int]) -> Candidate:
        """Return written tokens as a canvas."""
        canvas, spans = self._canvas(layout, [max(1, len(ids))])
        tokens, start = canvas.tokens[0].clone(), spans[0][0].start
        tokens[start : start + len(ids)] = torch.tensor(ids, device=tokens.device)
        return Candidate(tokens, spans[0], settled=True)

    def redrawn(self, layout: Layout, plan: Plan) -> Generator[Draft, None, list[Candidate]]:
        """Denoise all sizes once more, from other noise; the best first.

        Where holes are written, write a few more lines by chance instead, once, and denoise some if the model can.
        """
        self.trace.begin()
        if self.resources.writes(self.request):
            if self.redrew:
                return []
            self.redrew = True
            found = yield from self._written(layout, DRAWN)
            if self.spec.denoises and not self.resources.left_to_right and not self.request.left_to_right:
                found += yield from self._denoised(layout, plan)
        else:
            found = yield from self._denoised(layout, plan)
        return self._ranked(layout, self._sure(found))

    def _denoised(self, layout: Layout, plan: Plan) -> Generator[Draft, None, list[Candidate]]:
        """Denoise all sizes; below full strength, from the text in the hole. If no row is sure, all are drawn anew, as often
        a request as the checkpoint says."""
        found = list[Candidate]()
        while True:
            for sizes in self._batches(plan.sizes):
                found += yield from self._denoised_together(layout, sizes)
            if not self.again or any(map(self._is_sure, found)):
                return found
            self.again -= 1

    def _is_sure(self, candidate: Candidate) -> bool:
        """Return whether a candidate is as sure as the checkpoint wants; what was written left to right is."""
        unsure = self.spec.sampling.unsure
        return unsure is None or candidate.entropy <= unsure

    def _sure(self, found: list[Candidate]) -> list[Candidate]:
        """Return the candidates that are sure; all of them if none is, as an unsure text is better than none."""
        return list(filter(self._is_sure, found)) or found

    def _batches(self, sizes: Sequence[int]) -> list[list[int]]:
        """Return the sizes that are denoised together: all; of a published model those of as many steps, as its rules count
        the steps of each; and one alone whose length changes."""
        if self.resources.changes_length:
            return [[size] for size in sizes]
        if not self.resources.sides:
            return [list(sizes)]
        count = len(self.request.holes)
        return [list(together) for _, together in groupby(sizes, lambda size: self.spec.steps(count * size))]

    def _denoised_together(self, layout: Layout, sizes: Sequence[int]) -> Generator[Draft, None, list[Candidate]]:
        canvas, spans = self._canvas(layout, sizes)
        if self.request.start:
            canvas = self.start.on(canvas, spans[0][0])
        elif self.request.strength < 1.0 and len(self.request.holes) == 1 and not self.read.opening:
            hole = self.request.holes[0]
            text = layout.healed + plain(self.request.text[hole.start : hole.end])
            present = self.tokens.encode(text)
            doubts = self._doubts(layout, present)
            by_chance = self.seeded or self.resources.sides
            canvas = seeded(canvas, spans, present, doubts, self.request.strength, self.generator, by_chance)
            self.seeded = True
        return (yield from self._steps(canvas, spans))

    def _doubts(self, layout: Layout, present: Sequence[int]) -> list[float]:
        """Return how unlikely each token of a text in the hole is to the causal encoder, in nats."""
        if not present or self.resources.sides:
            return [0.0] * len(present)  # nothing reads causally here: chance decides
        cache = self.resources.backend.rows(self.cache.cache, 1, len(layout.context) - 1)
        (found,) = log_likelihoods(self.model, cache, layout.context[-1], [present])
        return [-each for each in found]

    def _canvas(self, layout: Layout, sizes: Sequence[int]) -> tuple[Canvas, list[tuple[range, ...]]]:
        """Return one row a size, and the places of its holes. All rows are equally long: hole, between, hole, ..., pins."""
        rows, spans, before = list[list[int]](), list[tuple[range, ...]](), self._before(layout)
        for size in sizes:
            row, where = list(before), list[range]()
            for kept in (*layout.between, ()):
                where.append(range(len(row), len(row) + size))
                row += [layout.end] * size + list(kept)
            rows.append(row)
            spans.append(tuple(where))
        longest = max(map(len, rows))
        length = max(self.spec.canvas, longest)
        if not self.spec.whole_canvas:
            length = min(length, longest + self.spec.pins)
        used = None
        if self.resources.taught or self.resources.sides:  # so many pins and no more, and nothing behind the document
            pins = len(layout.right) if self.resources.sides else min(self.spec.pins, len(layout.right))
            length = longest + pins
            used = torch.tensor([[at < len(row) + pins for at in range(length)] for row in rows])
        right = [*layout.right, *[layout.end] * length]
        ids = torch.tensor([(row + right)[:length] for row in rows], device=self.model.device)
        is_hole = torch.zeros_like(ids, dtype=torch.bool)
        for i, where_in_row in enumerate(spans):
            for span in where_in_row:
                is_hole[i, span.start : span.stop] = True
        used = None if used is None or bool(used.all()) else used.to(ids.device)
        healing, overlap = self._healing(layout, len(before)), 0 if self.resources.sides else len(before)
        holes = spans[0] if self.resources.changes_length else None
        canvas = Canvas(ids, is_hole, self.resources.banned, healing, overlap=overlap, used=used, holes=holes)
        return canvas, spans

    def _before(self, layout: Layout) -> tuple[int, ...]:
        """Return the tokens of a canvas before its first hole: everything, or the last one of the context, which the canvas
        repeats where a slot is read from the position before it."""
        if self.resources.sides:
            return layout.left
        return layout.context[-1:] if self.spec.denoising.shift else ()

    def _healing(self, layout: Layout, first: int) -> dict[int, Tensor]:
        """Allow at the first hole position only tokens that continue the one under the cursor."""
        opening = self.resources.opening(layout.healed)
        return {} if opening is None else {first: opening}

    def _steps(self, canvas: Canvas, spans: Sequence[tuple[range, ...]]) -> Generator[Draft, None, list[Candidate]]:
        """Denoise, showing the most certain row after each step; return the remaining rows in the order of the canvas.

        A finished row costs no further pass, and the least certain ones are dropped on the way where the checkpoint says so.
        """
        self.check_cancelled()
        holes = canvas.is_hole.sum(-1).cpu()  # at the beginning
        limit = self.request.max_steps or self.spec.steps(int(holes.min()))
        sampling = replace(self.spec.sampling, max_steps=limit)
        prefix = self.resources.backend.prefix(self.cache.cache, len(spans))
        choices = self.trace.choices
        work = self.trace.timed(
            "denoise",
            denoise(self.model, prefix, canvas, sampling, self.generator, drawn, self.spec.denoising, choices),
        )
        lanes = self.trace.numbers(len(spans))
        rows, alive, best = dict[int, Candidate](), list(range(len(spans))), (torch.inf, Draft(0, (), 0.0))
        if (step := next(work, None)) is None:  # the canvas begins with a token in each slot, and keeps them
            tokens = canvas.tokens if canvas.start is None else torch.where(canvas.is_hole, canvas.start, canvas.tokens)
            return [Candidate(row, where, settled=True) for row, where in zip(tokens.cpu(), spans, strict=True)]
        while True:
            self.nfe += 1
            slots = holes[alive] if step.holes is None else torch.tensor([max(1, sum(map(len, step.holes)))])
            uncertainty = (step.entropy.sum(-1) / slots).tolist()
            order = sorted(range(len(alive)), key=uncertainty.__getitem__)
            places = step.holes or spans[alive[order[0]]]
            now = uncertainty[order[0]], self.read.draft(self.nfe, step, order[0], places)
            where = [step.holes or spans[row] for row in alive]
            frame = self.trace.denoised(
                step, [lanes[row] for row in alive], where, self.read, last=step.number == limit
            )
            yield self.trace.shown(replace(min(best, now, key=itemgetter(0))[1], step=self.nfe), frame)
            self.check_cancelled()
            finished = step.finished.tolist()
            best = min(best, now, key=itemgetter(0)) if finished[order[0]] else best
            most = dict(self.spec.prune).get(step.number, len(alive))
            most = max(most, 2 * self.request.candidates) if self.request.candidates > 1 else most
            for i, row in enumerate(alive):
                rows[row] = Candidate(
                    step.tokens[i], step.holes or spans[row], finished[i], uncertainty[i], lane=lanes[row]
                )
            for i in order[most:]:
                del rows[alive[i]]
                self.trace.drop(lanes[alive[i]])
            keep = sorted(i for i in order[:most] if not finished[i])
            if not keep:
                return [rows[row] for row in sorted(rows)]
            try:
                step = next(work) if len(keep) == len(alive) else work.send(keep)
            except StopIteration:
                return [rows[row] for row in sorted(rows)]
            alive = [alive[i] for i in keep]
