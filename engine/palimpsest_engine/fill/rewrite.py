"""Write a window of code anew where it has to follow from some changes; each new line competes with the one that is there.

A model proposes the window: left to right in the format that it was taught (`prompt/edit_formats.py`), or by denoising, from
the present text. Then the same model is asked how likely each changed place is, against the present text: once knowing the
changes, once not. What is no likelier than the present text is left out, and so is what the changes do not make likelier:
that is the model's taste, and nothing that follows. Belongs to the thread that owns the model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from palimpsest_engine.decoding.scoring import log_likelihoods
from palimpsest_engine.errors import FillCancelled
from palimpsest_engine.fill.copying import copying
from palimpsest_engine.fill.following import ask_of, nothing, offered
from palimpsest_engine.fill.line_hunks import LineHunk, spliced
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.edit_formats import FORMATS, EditAsk, EditFormat, Mark
from palimpsest_engine.prompt.layout import lay_out
from palimpsest_engine.prompt.pieces import pieces, plain
from palimpsest_engine.request import Draft, DraftPiece, Excerpt, Fill, FillRequest
from palimpsest_engine.syntax.grammars import language_of

STRENGTH = 0.4  # of the denoising: most of the present text stays
BEHIND = 60  # characters behind a changed place that are counted with it: does the text go on well from there?
LIKELIER = 0.5  # nats by which an edit has to be likelier than the present text
NATS = 1.0  # by so much the changes have to make it likelier
_MORE = 96  # tokens that a window may grow by

Denoise = Callable[[FillRequest], Iterator[Draft | Fill]]


class Rewrite:
    """The answer to one request with changes. denoise: fills a request by denoising."""

    def __init__(
        self, resources: Resources, request: FillRequest, denoise: Denoise, cancelled: Callable[[], bool]
    ) -> None:
        self.resources, self.request, self.denoise, self.cancelled = resources, request, denoise, cancelled
        self.format = FORMATS.get(resources.spec.edits)
        self.present = request.text[request.holes[0].start : request.holes[0].end]
        self.nfe = 0
        self._knowing = PrefixCache(resources.model, resources.spec.denoising.block)
        self._unknowing = PrefixCache(resources.model, resources.spec.denoising.block)

    def run(self) -> Iterator[Draft | Fill]:
        """Yield drafts, then the `Fill`: the whole window, or nothing and the reason."""
        on_canvas = self.resources.spec.edits == "canvas" and self.resources.spec.denoises and not self.resources.sides
        if self.format is None and not on_canvas:
            yield nothing("The model was not taught to follow a change.")
            return
        window = plain(self.present)
        proposed = (yield from self._written(window)) if self.format else (yield from self._denoised())
        fill = offered(self.request, proposed, lambda places: self._follows(window, places))
        yield replace(fill, nfe=self.nfe, context=len(self._knowing.tokens))

    def _written(self, window: str) -> Generator[Draft, None, str]:
        """Write the window left to right. Most of it is a copy, so the guesses of `Lookup` save most passes."""
        assert self.format is not None
        resources, ask = self.resources, ask_of(self.request)
        tokens, prompt = resources.tokens, self._ids(self.format, ask)
        most, answer = len(tokens.encode(window)) + _MORE, list[int]()
        for answer in copying(resources, self._knowing, prompt, most, self.format.ends, self._check):
            self.nfe += 1
            yield Draft(self.nfe, ((DraftPiece(tokens.decode(answer), True),),), len(answer) / most, written=True)
        if len(answer) >= most:
            return window  # it did not end: nothing of it can be trusted
        return self.format.window(ask, tokens.decode([each for each in answer if each not in resources.ends]))

    def _denoised(self) -> Generator[Draft, None, str]:
        """Denoise the window from the present text, with the changes in the context."""
        request = replace(
            self.request, changes=(), strength=STRENGTH, context=(*self.request.context, *self._excerpts())
        )
        for event in self.denoise(request):
            if isinstance(event, Fill):
                self.nfe += event.nfe
                return self.present if event.empty else event.texts[0]
            yield event
        return self.present

    def _follows(self, window: str, places: Sequence[LineHunk]) -> bool:
        """Return whether the window is likelier with these places changed, and the changes make it so."""
        knowing = self._gain(window, places, self._knowing, knowing=True)
        return knowing >= LIKELIER and knowing - self._gain(window, places, self._unknowing, knowing=False) >= NATS

    def _gain(self, window: str, places: Sequence[LineHunk], cache: PrefixCache, *, knowing: bool) -> float:
        """Return by how many nats the new lines are likelier than the present ones, with some text behind them."""
        resources, lines = self.resources, window.splitlines(keepends=True)
        start, end = places[0].start, places[-1].end
        before, behind = "".join(lines[:start]), "".join(lines[end:])[:BEHIND]
        old = "".join(lines[start:end])
        new = spliced(old, [replace(each, start=each.start - start, end=each.end - start) for each in places])
        context = [*self._context(window, knowing=knowing), *resources.tokens.encode(before)]
        cache.encode(context, self._check)
        texts = new + behind, old + behind
        sequences = [resources.tokens.encode(text) or [resources.tokens.encode("\n")[0]] for text in texts]
        rows = resources.backend.rows(cache.cache, 2, len(context) - 1)
        self.nfe += 1
        gained, lost = map(sum, log_likelihoods(resources.model, rows, context[-1], sequences))
        return gained - lost

    def _context(self, window: str, *, knowing: bool) -> Sequence[int]:
        """Return the tokens that the window follows in the eyes of the causal model."""
        if self.format is not None:
            return self._ids(self.format, ask_of(self.request, knowing=knowing))
        spec, tokens = self.resources.spec, self.resources.tokens
        language = language_of(self.request.path, self.request.language)
        excerpts = (*self.request.context, *(self._excerpts() if knowing else ()))
        return lay_out(pieces(self.request), spec, tokens, language, excerpts, self.request.path).context

    def _ids(self, format_: EditFormat, ask: EditAsk) -> list[int]:
        control = self.resources.tokens.control
        parts = (control(part) if isinstance(part, Mark) else part for part in format_.prompt(ask))
        return self.resources.tokens.joined(parts)

    def _excerpts(self) -> tuple[Excerpt, ...]:
        return tuple(
            Excerpt(f"{each.path}, changed", "".join(_diff_lines("-", each.before) + _diff_lines("+", each.after)))
            for each in self.request.changes
        )

    def _check(self) -> None:
        if self.cancelled():
            raise FillCancelled("The fill was cancelled.")


def _diff_lines(sign: str, text: str) -> list[str]:
    return [f"{sign}{line}\n" for line in text.splitlines()]
