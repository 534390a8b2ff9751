"""One canvas from text to text: lay out, encode, denoise several hole sizes, rank, check the syntax, read out.

Runs on the thread that owns the model and yields a `Draft` per denoising step, then one `Fill`. Policy lives here:
which sizes, which candidate, when to repair, when to give up. The loop itself is in `denoise.py`; requests that need
several canvases are `fill.py`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palimpsest_engine.decoding.autoregressive import middle_of, write
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.prompt_lookup import Lookup
from palimpsest_engine.decoding.sampler import drawn
from palimpsest_engine.decoding.scoring import likelihoods
from palimpsest_engine.errors import FillCancelled
from palimpsest_engine.fill.detokenize import PINNING, ReadOut, Row
from palimpsest_engine.fill.renoise import chosen, seeded, under_the_parser
from palimpsest_engine.prompt.layout import Layout, lay_out
from palimpsest_engine.prompt.pieces import pieces
from palimpsest_engine.request import Draft, Fill, FillRequest, Verdict
from palimpsest_engine.syntax.gate import SyntaxGate, language_of

if TYPE_CHECKING:
    from palimpsest_engine.fill.filler import Filler

REPAIR_ROUNDS, REPAIR_STEPS = 3, 4
SCORED_SUFFIX = 8
FAR = 64  # code points of the suffix that are looked for in what is written left to right
ATTEMPTS = 2  # fresh noise once more, where nothing came of the first


class OneCanvas:
    """The fill of one group of holes that share a canvas (or of one long hole, canvas after canvas)."""

    def __init__(self, filler: Filler, request: FillRequest, cancelled: Callable[[], bool]) -> None:
        self.filler, self.request, self.cancelled = filler, request, cancelled
        self.spec, self.tokens, self.model = filler.spec, filler.tokens, filler.model
        self.language = language_of(request.path, request.language)
        self.layout = lay_out(pieces(request), self.spec, self.tokens, self.language, request.context)
        self.cache = filler.prefix_cache(request.document)
        self.generator = torch.Generator(self.model.device).manual_seed(request.seed)
        self.read = ReadOut(request, self.tokens, self.spec.filler, self.layout.healed)
        self.nfe = 0

    def run(self) -> Iterator[Draft | Fill]:
        """Drafts, then this group's `Fill`."""
        self.check_cancelled()
        encoded = self.cache.encode(self.layout.context, self.check_cancelled)
        sizes, blocks = self.sizes()
        more = self.request.candidates - 1
        tries = self.spec.tries if self.request.strength == 1.0 else 1
        sizes = sorted(sizes * max(tries, 2 + more // len(sizes) if more else 1))
        layout = self.layout
        if self.filler.left_to_right:
            blocks, attempts = 0, 1
        else:
            attempts = ATTEMPTS if self.request.strength > PINNING else 2 * ATTEMPTS
        for _ in range(blocks):
            layout = yield from self.block(layout)
        for _ in range(attempts):
            rows = yield from self.candidates(layout, sizes)
            fill = yield from self.judged(layout, self.ranked(layout, rows), sizes)
            if not fill.empty or (fill.treatment == "rejected" and self.filler.repair_ms is not None):
                break
        self.cache.rollback(len(self.layout.context))
        yield replace(fill, encoded=encoded, context=len(self.layout.context), nfe=self.nfe)

    def check_cancelled(self) -> None:
        """Raise if nobody waits for this any more."""
        if self.cancelled():
            raise FillCancelled("The fill was cancelled.")

    def sizes(self) -> tuple[list[int], int]:
        """(hole sizes to denoise as one batch, whole canvases to write before them)."""
        request, spec, count = self.request, self.spec, len(self.request.holes)
        room = spec.canvas - sum(map(len, self.layout.between))
        present = len(self.tokens.encode(request.text[request.holes[0].start : request.holes[0].end]))
        within_line = spec.line_sizes if request.max_lines == 1 else ()
        wanted = sorted(request.sizes or within_line or spec.hole_sizes)
        if count == 1 and request.strength < 1.0:
            wanted = [present + min(spec.hole_sizes)]  # what stands there decides; the surplus is for growing
        elif count == 1 and not request.sizes and present > wanted[-1]:
            wanted = [present]
        fitting = [size for size in wanted if size * count <= room]
        if count > 1:
            return fitting or [max(1, room // count)], 0
        if fitting:
            return fitting, 0
        return list(spec.hole_sizes), -(-(wanted[0] - max(spec.hole_sizes)) // spec.canvas)

    def canvas(self, layout: Layout, sizes: Sequence[int]) -> tuple[Canvas, list[tuple[range, ...]]]:
        """One row a size, and where its holes are. A row is `hole, between, hole, ..., right pins`, all rows equally long."""
        rows, spans = list[list[int]](), list[tuple[range, ...]]()
        for size in sizes:
            row, where = list[int](), list[range]()
            for kept in (*layout.between, ()):
                where.append(range(len(row), len(row) + size))
                row += [layout.end] * size + list(kept)
            rows.append(row)
            spans.append(tuple(where))
        length = min(max(self.spec.canvas, max(map(len, rows))), max(map(len, rows)) + self.spec.pins)
        right = [*layout.right, *[layout.end] * length]
        ids = torch.tensor([(row + right)[:length] for row in rows], device=self.model.device)
        is_hole = torch.zeros_like(ids, dtype=torch.bool)
        for i, where_in_row in enumerate(spans):
            for span in where_in_row:
                is_hole[i, span.start : span.stop] = True
        return Canvas(ids, is_hole, self.filler.banned, self.healing(layout)), spans

    def healing(self, layout: Layout) -> dict[int, Tensor]:
        """The first hole position may only continue the token the cursor stands in."""
        if not layout.healed:
            return {}
        ids = self.tokens.starting_with(layout.healed)
        return {0: torch.tensor(ids, device=self.model.device)}

    def steps(
        self, canvas: Canvas, spans: Sequence[tuple[range, ...]], limit: int | None = None
    ) -> Generator[Draft, None, list[Row]]:
        """Denoise, showing the most certain row after each step; a row that has finished costs no further pass, and the
        least certain are dropped on the way where the checkpoint says so. What is left, in the order of the canvas.

        limit: steps at most, for what is neither the request's nor the checkpoint's to say."""
        self.check_cancelled()
        holes = canvas.is_hole.sum(-1).cpu()
        limit = limit or self.request.max_steps or self.spec.steps(int(holes.min()))
        sampling = replace(self.spec.sampling, max_steps=limit)
        work = denoise(self.model, self.filler.prefix(self.cache, len(spans)), canvas, sampling, self.generator, drawn)
        rows, alive, best = dict[int, Row](), list(range(len(spans))), (torch.inf, Draft(0, (), 0.0))
        step = next(work)
        while True:
            self.nfe += 1
            uncertainty = (step.entropy.sum(-1) / holes[alive]).tolist()
            order = sorted(range(len(alive)), key=uncertainty.__getitem__)
            now = uncertainty[order[0]], self.read.draft(self.nfe, step, order[0], spans[alive[order[0]]])
            yield replace(min(best, now, key=itemgetter(0))[1], step=self.nfe)
            self.check_cancelled()
            finished = step.finished.tolist()
            best = min(best, now, key=itemgetter(0)) if finished[order[0]] else best
            most = dict(self.spec.prune).get(step.number, len(alive))
            most = max(most, 2 * self.request.candidates) if self.request.candidates > 1 else most
            for i, row in enumerate(alive):
                rows[row] = Row(step.tokens[i], spans[row], finished[i], step.entropy[i])
            for i in order[most:]:
                del rows[alive[i]]
            keep = sorted(i for i in order[:most] if not finished[i])
            if not keep:
                return [rows[row] for row in sorted(rows)]
            try:
                step = next(work) if len(keep) == len(alive) else work.send(keep)
            except StopIteration:
                return [rows[row] for row in sorted(rows)]
            alive = [alive[i] for i in keep]

    def block(self, layout: Layout) -> Generator[Draft, None, Layout]:
        """Write one whole canvas of a long hole and commit it to the cache; the layout that continues after it."""
        size = self.spec.canvas
        ids = torch.full((1, size), layout.end, device=self.model.device)
        canvas = Canvas(ids, torch.ones_like(ids, dtype=torch.bool), self.filler.all_banned, self.healing(layout))
        (row,) = yield from self.steps(canvas, [(range(size),)])
        written = row.tokens.tolist()
        self.read.opening += written
        committed = (*layout.context, *written)
        self.cache.encode(committed)
        return replace(layout, context=committed, healed="")

    def candidates(self, layout: Layout, sizes: Sequence[int]) -> Generator[Draft, None, list[Row]]:
        """What is ranked: denoised, and written left to right where the checkpoint wants that, or nothing else is asked."""
        if self.filler.left_to_right:
            return self.written(layout)
        rows = yield from self.denoised(layout, sizes)
        alone = len(self.request.holes) == 1 and self.request.strength == 1.0 and not self.read.opening
        if (count := self.causal_candidates()) and alone and not self.request.sizes:
            rows += self.written(layout, count, lines=1, others=rows)
        return rows

    def causal_candidates(self) -> int:
        """Lines to write left to right beside what is denoised."""
        text, hole, blank = self.request.text, self.request.holes[0], self.spec.blank_line_candidates
        before, after = text[: hole.start].rpartition("\n")[2], text[hole.end :].partition("\n")[0]
        return self.spec.causal_candidates if blank is None or (before + after).strip() else blank

    def denoised(self, layout: Layout, sizes: Sequence[int]) -> Generator[Draft, None, list[Row]]:
        """All sizes as one batch over the shared prefix; where that is asked for, from what stands in the hole."""
        canvas, spans = self.canvas(layout, sizes)
        if self.request.strength < 1.0 and len(self.request.holes) == 1 and not self.read.opening:
            hole = self.request.holes[0]
            present = layout.healed + self.request.text[hole.start : hole.end].replace("\r\n", "\n")
            canvas = seeded(canvas, spans, self.tokens.encode(present), self.request.strength, self.generator)
        return (yield from self.steps(canvas, spans))

    def ranked(self, layout: Layout, rows: list[Row]) -> list[Row]:
        """Rows by the causal encoder's likelihood of hole and following text, best first; each text once."""
        written = {texts: row for row in reversed(rows) if any(texts := self.read.texts(row))}
        rows = list(reversed(written.values())) or rows[:1]
        if len(rows) == 1:
            return rows
        sequences = [self.scored(layout, row) for row in rows]
        cache = self.filler.rows(self.cache, len(rows), len(layout.context) - 1)
        scores = likelihoods(self.model, cache, layout.context[-1], sequences, self.spec.length_power)
        return [row for _, row in sorted(zip(scores, rows, strict=True), key=lambda pair: -pair[0])]

    def scored(self, layout: Layout, row: Row) -> list[int]:
        """The tokens a candidate is scored by: its holes without filler, what is pinned between, and a little suffix."""
        out = list[int]()
        for ids, kept in zip(self.read.ids(row), (*layout.between, layout.right[:SCORED_SUFFIX]), strict=True):
            out += [*ids, *kept]
        return out or [layout.end]

    def judged(self, layout: Layout, ranked: list[Row], sizes: Sequence[int]) -> Generator[Draft, None, Fill]:
        """The best candidate that makes the document's syntax no worse: as it is, repaired, cut, or none at all."""
        nothing = ("",) * len(self.request.holes)
        best = self.read.texts(ranked[0])
        if not any(best):
            return Fill(nothing, Verdict("no worse", "nothing was written"), "The model has nothing to add here.")
        gate = SyntaxGate(self.request.text, self.request.holes, self.language)
        judged = [(row, texts, gate.judge(texts)) for row in ranked if any(texts := self.read.texts(row))]
        passed = [(row, texts, verdict) for row, texts, verdict in judged if verdict.status != "worse"]
        # "No worse" lets some broken fills through in broken documents; a valid one, if there is any, is sure.
        passed.sort(key=lambda candidate: (candidate[2].status == "no worse", bool(candidate[2].bad)))
        if not passed or passed[0][2].bad:  # what passes and could be better, such as a header without its body
            row, _, verdict = (passed or judged)[0]
            if mended := (yield from self.mended(layout, gate, row, verdict, sizes)):
                return replace(mended, alternatives=tuple(dict.fromkeys(texts for _, texts, _ in passed)))
        if passed:
            row, texts, verdict = passed[0]
            others = tuple(dict.fromkeys(other for _, other, _ in passed[1:] if other != texts))
            return Fill(texts, verdict, settled=row.settled, alternatives=others)
        for _, texts, _ in judged if self.request.strength == 1.0 else ():  # less would cut away what stood there
            kept = gate.cut(texts)
            if kept is not None and any(kept):
                return Fill(kept, gate.judge(kept), treatment="cut")
        return Fill(nothing, judged[0][2], "Every candidate would have broken the syntax.", treatment="rejected")

    def mended(
        self, layout: Layout, gate: SyntaxGate, row: Row, verdict: Verdict, sizes: Sequence[int]
    ) -> Generator[Draft, None, Fill | None]:
        """The first of a few more tries with nothing bad in it, as the filler's way of repair makes them; None if there is
        none."""
        repair, budget, begun = self.filler.repair, self.filler.repair_ms, time.perf_counter()
        if repair == "none" or self.request.strength <= PINNING:  # what is pinned is not to be renoised
            return None
        for _ in range(REPAIR_ROUNDS) if budget is None else count():
            if budget is not None and (time.perf_counter() - begun) * 1000 >= budget:
                break
            rows = yield from (
                self.denoised(layout, sizes) if repair == "resample" else self.renoised(layout, row, verdict)
            )
            for row in self.ranked(layout, rows):
                texts = self.read.texts(row)
                verdict = gate.judge(texts)
                if any(texts) and not verdict.bad:
                    return Fill(texts, verdict, treatment="repaired", settled=row.settled)
        return None

    def renoised(self, layout: Layout, row: Row, verdict: Verdict) -> Generator[Draft, None, list[Row]]:
        """Noise where the strategy says so, the rest of the row as a start; a few steps more."""
        canvas, _ = self.canvas(layout, [len(row.spans[0])])
        noised = chosen(self.filler.repair, under_the_parser(self.read, row, verdict), row, self.read, self.generator)
        known = canvas.is_hole & ~noised[: canvas.tokens.shape[1]].to(canvas.tokens.device)
        start = row.tokens[: canvas.tokens.shape[1]].unsqueeze(0).to(canvas.tokens.device)
        canvas = replace(canvas, start=start, start_known=known)
        return (yield from self.steps(canvas, [row.spans], REPAIR_STEPS))

    def written(
        self, layout: Layout, count: int = 1, lines: int | None = None, others: Sequence[Row] = ()
    ) -> list[Row]:
        """The one hole written left to right, the second row and those after it by chance: up to the filler, or to where
        the suffix begins, or to a limit of lines; as many tokens as were asked for, if one size was.

        others: what was denoised; it and the context make guesses, of which a pass checks several."""
        request, healed = self.request, layout.healed
        after = request.text[request.holes[-1].end :][:FAR].replace("\r\n", "\n")
        fixed = len(set(request.sizes or ())) == 1
        marked = self.spec.left_to_right and not fixed

        def passing() -> None:
            self.check_cancelled()
            self.nfe += 1

        def ended(ids: list[int]) -> bool:
            if fixed:
                return False
            text = self.tokens.decode(ids)[len(healed) :]
            full = text.count("\n") >= (lines or request.max_lines or len(ids) + 1)
            return full or (ids[-1] == self.spec.filler if marked else middle_of(text, after)[1])

        most = max(request.sizes or self.spec.hole_sizes) + (0 if fixed or marked else self.spec.pins)
        branch = self.cache.cache.branch(count, len(layout.context) - 1)
        banned, opening = self.filler.banned if marked else self.filler.all_banned, self.healing(layout).get(0)
        last, generator = layout.context[-1], self.generator
        guess = Lookup(layout.context, [self.read.ids(row)[0] for row in others])
        texts = write(self.model, branch, last, most, banned, opening, ended, count, generator, guess, passing)
        out = []
        for ids in texts:
            if not fixed and not marked:
                ids = self.tokens.encode(healed + middle_of(self.tokens.decode(ids)[len(healed) :], after)[0])
            canvas, spans = self.canvas(layout, [max(1, len(ids))])
            tokens = canvas.tokens[0].clone()
            tokens[: len(ids)] = torch.tensor(ids, device=tokens.device)
            out.append(Row(tokens, spans[0], settled=True))
        return out
