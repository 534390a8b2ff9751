"""Write a window of code anew where it has to follow from some changes; each new line competes with the one that is there.

A model proposes the window: left to right in the format that it was taught (`prompt/edit_formats.py`), or by denoising, from
the present text. Then the same model is asked how likely each changed place is, against the present text: once knowing the
changes, once not. What is no likelier than the present text is left out, and so is what the changes do not make likelier:
that is the model's taste, and nothing that follows. Belongs to the thread that owns the model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from palimpsest_engine.decoding.autoregressive import writing
from palimpsest_engine.decoding.prompt_lookup import Lookup
from palimpsest_engine.decoding.scoring import log_likelihoods
from palimpsest_engine.errors import FillCancelled
from palimpsest_engine.fill.line_hunks import LineHunk, replaced, spliced
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.edit_formats import FORMATS, EditAsk, EditFormat, Mark
from palimpsest_engine.prompt.layout import lay_out
from palimpsest_engine.prompt.pieces import pieces, plain
from palimpsest_engine.request import Draft, DraftPiece, Excerpt, Fill, FillRequest, Verdict
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.watched import SyntaxGate

STRENGTH = 0.4  # of the denoising: most of the present text stays
BEHIND = 60  # characters behind a changed place that are counted with it: does the text go on well from there?
NATS = 1.0  # by so much the changes have to make an edit likelier
_MORE = 96  # tokens that a window may grow by
COPIED = 16  # tokens that are guessed at once: most of a window stays as it is
_PLACES = 4  # changed places that are looked at, from the first on
_AROUND = 2048  # characters on either side of the window that the published formats show

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
        if self.format is None and (not self.resources.spec.denoises or self.resources.sides):
            yield self._nothing("The model was not taught to follow a change.")
            return
        window = plain(self.present)
        proposed = (yield from self._written(window)) if self.format else (yield from self._denoised())
        places = replaced(window, plain(proposed))[:_PLACES]
        if not places:
            yield self._nothing("The model would leave everything as it is.")
            return
        yield self._judged(window, places)

    def _judged(self, window: str, places: Sequence[LineHunk]) -> Fill:
        """Return all places together, if they follow and the syntax bears them, or else the first that does by itself."""
        gate = SyntaxGate(self.request.text, self.request.holes, language_of(self.request.path, self.request.language))
        nothing = self._nothing("What the model would change does not follow from the changes.")
        for chosen in dict.fromkeys((tuple(places), *((each,) for each in places))):
            text = self._with_line_ends(spliced(window, chosen))
            verdict = gate.judge((text,))
            if verdict.status == "worse":
                nothing = replace(
                    nothing, verdict=verdict, treatment="rejected", reason="What follows would have broken the syntax."
                )
            elif self._follows(window, chosen):
                return Fill((text,), verdict, nfe=self.nfe, context=len(self._knowing.tokens))
        return replace(nothing, nfe=self.nfe)

    def _written(self, window: str) -> Generator[Draft, None, str]:
        """Write the window left to right. Most of it is a copy, so the guesses of `Lookup` save most passes."""
        assert self.format is not None
        resources, ask = self.resources, self._ask(window, knowing=True)
        tokens, prompt = resources.tokens, self._ids(self.format, ask)
        self._knowing.encode(prompt, self._check)
        ends, format_ = resources.ends, self.format

        def ended(written: list[int]) -> bool:
            return written[-1] in ends or any(end in tokens.decode(written[-8:]) for end in format_.ends)

        most, answer = len(tokens.encode(window)) + _MORE, list[int]()
        branch = self._knowing.cache.branch(1, len(prompt) - 1)
        work = writing(
            resources.model,
            branch,
            prompt[-1],
            most,
            resources.banned_but_ends,
            ended=ended,
            draft=Lookup(prompt, ahead=COPIED),
        )
        for (answer,) in work:
            self.nfe += 1
            yield Draft(self.nfe, ((DraftPiece(tokens.decode(answer), True),),), len(answer) / most, written=True)
            self._check()
        if len(answer) >= most:
            return window  # it did not end: nothing of it can be trusted
        return format_.window(ask, tokens.decode([each for each in answer if each not in ends]))

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
        return knowing > 0 and knowing - self._gain(window, places, self._unknowing, knowing=False) >= NATS

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
            return self._ids(self.format, self._ask(window, knowing=knowing))
        spec, tokens = self.resources.spec, self.resources.tokens
        language = language_of(self.request.path, self.request.language)
        excerpts = (*self.request.context, *(self._excerpts() if knowing else ()))
        return lay_out(pieces(self.request), spec, tokens, language, excerpts, self.request.path).context

    def _ask(self, window: str, *, knowing: bool) -> EditAsk:
        request, hole = self.request, self.request.holes[0]
        cursor = None if request.cursor is None else request.cursor - hole.start
        inside = cursor is not None and 0 <= cursor <= len(self.present)
        return EditAsk(
            request.path or "file",
            language_of(request.path, request.language) or "",
            request.changes if knowing else (),
            plain(request.text[max(0, hole.start - _AROUND) : hole.start]),
            window,
            plain(request.text[hole.end : hole.end + _AROUND]),
            len(plain(self.present[:cursor])) if inside else None,
        )

    def _ids(self, format_: EditFormat, ask: EditAsk) -> list[int]:
        control = self.resources.tokens.control
        parts = (control(part) if isinstance(part, Mark) else part for part in format_.prompt(ask))
        return self.resources.tokens.joined(parts)

    def _excerpts(self) -> tuple[Excerpt, ...]:
        return tuple(
            Excerpt(f"{each.path}, changed", "".join(_diff_lines("-", each.before) + _diff_lines("+", each.after)))
            for each in self.request.changes
        )

    def _with_line_ends(self, text: str) -> str:
        return text.replace("\n", "\r\n") if "\r\n" in self.present else text

    def _nothing(self, reason: str) -> Fill:
        return Fill(("",), Verdict("no worse", "nothing was written"), reason, nfe=self.nfe)

    def _check(self) -> None:
        if self.cancelled():
            raise FillCancelled("The fill was cancelled.")


def _diff_lines(sign: str, text: str) -> list[str]:
    return [f"{sign}{line}\n" for line in text.splitlines()]
