"""Fill one canvas from text to text: lay out, encode, plan, denoise, rank, judge; each step is in a module beside this one.

Runs on the thread that owns the model and yields a `Draft` per denoising step, then one `Fill`. `filler.py` splits a
request into canvases.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from palimpsest_engine.fill.candidates import Candidates
from palimpsest_engine.fill.detokenize import PINNING, Candidate, Detokenizer
from palimpsest_engine.fill.evidence import Evidence, features
from palimpsest_engine.fill.judging import Redraw, judged
from palimpsest_engine.fill.plan import Plan, plan_canvas
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.fill.start import Start, refusal
from palimpsest_engine.fill.tracing import Trace
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.layout import Layout, lay_out
from palimpsest_engine.prompt.pieces import pieces
from palimpsest_engine.request import Confidence, Draft, Fill, FillRequest, Verdict
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.watched import SyntaxGate

NO_TOUCH_UP = (
    "The model writes from left to right, so it cannot keep a part of a text, only write it anew; a diffusion model can: "
    'the setting model {"edit": "embedded"}, say, or --model embedded on the command line.'
)


class CanvasFill:
    """The fill of one group of holes that share a canvas, or of one long hole, canvas after canvas."""

    def __init__(
        self,
        resources: Resources,
        request: FillRequest,
        cache: PrefixCache,
        cancelled: Callable[[], bool] = lambda: False,
        trace: Trace | None = None,
        asked: Sequence[int] = (),
    ) -> None:
        resources = resources.at(request.temperature)
        if (
            (resources.taught or resources.sides)
            and not any(hole.end > hole.start for hole in request.holes)
            and not request.start
        ):
            request = replace(request, tidy=True)  # the model does not know where to stop; this does
        language, tokens, spec = language_of(request.path, request.language), resources.tokens, resources.spec
        self.layout = lay_out(pieces(request), spec, tokens, language, request.context, request.path, asked)
        self.refusal = refusal(resources, request)
        start = Start.of(request.start, tokens, spec.filler, self.layout.healed, spec.canvas)
        if request.start and not self.refusal:
            request = replace(request, sizes=(len(start.ids),), candidates=1)
            if not 0 < len(start.ids) <= spec.canvas:
                self.refusal = (
                    f"The canvas would begin with {len(start.ids)} slots; there is room for 1 to {spec.canvas}."
                )
        self.resources, self.request, self.cache = resources, request, cache
        self.redraw = resources.redraw and not request.start and (resources.taught or not request.left_to_right)
        self.read = Detokenizer(request, tokens, resources.spec.filler, self.layout.healed)
        self.trace = trace or Trace(request, tokens)
        self.gate = self.trace.watched(SyntaxGate(request.text, request.holes, language))
        self.candidates = Candidates(resources, request, cache, self.read, self.trace, start, cancelled)

    def run(self) -> Iterator[Draft | Fill]:
        """Yield drafts, then this group's `Fill`."""
        self.candidates.check_cancelled()
        if self.request.strength < 1.0 and not self.resources.spec.denoises:
            self.refusal = NO_TOUCH_UP
        if self.refusal:
            yield Fill(("",) * len(self.request.holes), Verdict("not checked", "nothing was asked"), self.refusal)
            return
        with self.trace.stage("encode"):
            encoded = self.cache.encode(self.layout.context, self.candidates.check_cancelled)
        plan, layout = plan_canvas(self.request, self.resources.spec, self.resources.tokens, self.layout), self.layout
        for _ in range(0 if self.resources.writes(self.request) else plan.blocks):
            layout = yield from self.candidates.block(layout)
        for _ in range(plan.attempts if self.redraw else 1):
            ranked = yield from self.candidates.ranked(layout, plan)
            fill = yield from self.judged(ranked, lambda: self.redrawn(layout, plan))
            if not fill.empty:
                break
        self.cache.rollback(len(self.layout.context))
        context = len(self.layout.context) + len(self.layout.left)
        if self.resources.sides:
            context += len(self.layout.right)
        confidences = self.confidences(fill)
        fill = replace(fill, encoded=encoded, context=context, nfe=self.candidates.nfe, confidences=confidences)
        yield self.trace.ended(fill, self.read)

    def judged(self, ranked: list[Candidate], redraw: Redraw) -> Generator[Draft, None, Fill]:
        """Choose among the candidates. Tokens that are pinned are never drawn anew, nor many lines a token at a time."""
        again = self.redraw and self.request.strength > PINNING
        again &= not self.resources.taught or self.request.max_lines == 1
        return (yield from judged(self.request, ranked, self.read, self.gate, redraw if again else None))

    def redrawn(self, layout: Layout, plan: Plan) -> Generator[Draft, None, list[Candidate]]:
        """Draw anew."""
        return (yield from self.candidates.redrawn(layout, plan))

    def confidences(self, fill: Fill) -> tuple[Confidence, ...]:
        """Return how sure the texts of a fill are; nothing if nobody measured this model, or there is nothing to go by."""
        calibration, language = self.resources.calibration, self.candidates.ranking.language
        if calibration is None or fill.empty or not self.candidates.ranking.evidence:
            return ()
        found = [
            calibration.confidence(features(self.evidence(texts), fill), language)
            for texts in (fill.texts, *fill.alternatives)
        ]
        return tuple(each for each in found if each is not None)

    def evidence(self, texts: tuple[str, ...]) -> Evidence:
        """Return what speaks for the texts of a fill; a part of a candidate has what speaks for the whole."""
        found = self.candidates.ranking.evidence
        whole = (each for each in found if each[0].startswith(texts[0]))
        return found.get(texts) or found[next(whole, next(iter(found)))]
