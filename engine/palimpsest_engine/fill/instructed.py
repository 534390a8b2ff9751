"""Rewrite the text in a hole as a user has instructed: a chat model writes its replacement, which the gate judges.

Belongs to the thread that owns the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from palimpsest_engine.errors import FillCancelled
from palimpsest_engine.fill.copying import copying
from palimpsest_engine.fill.following import nothing
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.edit_formats import Mark
from palimpsest_engine.prompt.instruct import ENDS, InstructAsk, chatml, replacement
from palimpsest_engine.prompt.pieces import newline_of, plain
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.watched import SyntaxGate

NO_CHAT = (
    "The model was not taught to follow instructions; `palimpsest models pull qwen2.5-coder-0.5b --use` fetches one "
    "that was."
)
LONGEST = 3000  # tokens of a selection, an instruction and what is shown around them
_MORE = 384  # tokens that a replacement may have beyond the selection's
_AROUND = 4000  # characters on either side


class Instructed:
    """The answer to one request with an instruction."""

    def __init__(self, resources: Resources, request: FillRequest, cancelled: Callable[[], bool]) -> None:
        self.resources, self.request, self.cancelled = resources, request, cancelled
        self.cache = PrefixCache(resources.model, resources.spec.denoising.block)
        hole = request.holes[0]
        self.ask = InstructAsk(
            request.instruction,
            language_of(request.path, request.language) or "",
            request.path or "file",
            plain(request.text[max(0, hole.start - _AROUND) : hole.start]),
            plain(request.text[hole.start : hole.end]),
            plain(request.text[hole.end : hole.end + _AROUND]),
        )

    def run(self) -> Iterator[Draft | Fill]:
        """Yield drafts of the replacement, then the `Fill`: the replacement, or nothing and the reason."""
        if self.resources.spec.edits != "chatml":
            yield nothing(NO_CHAT)
            return
        tokens = self.resources.tokens
        selected = len(tokens.encode(self.ask.selection))
        prompt = tokens.joined(tokens.control(part) if isinstance(part, Mark) else part for part in chatml(self.ask))
        if len(prompt) > LONGEST:
            yield nothing(_too_long(self.ask, selected, len(prompt)))
            return
        most, answer, passes = selected + _MORE, "", 0
        for answer, count in self._written(prompt, most):
            passes += 1
            shown = self._fitted(answer)
            yield Draft(passes, ((DraftPiece(shown, True),),), count / most, written=True)
        fill = self._judged(answer, ended=count < most)
        yield replace(fill, nfe=passes, context=len(prompt))

    def _written(self, prompt: list[int], most: int) -> Iterator[tuple[str, int]]:
        """Write the answer; yield it so far, and its tokens."""
        tokens, ends = self.resources.tokens, self.resources.ends
        for answer in copying(self.resources, self.cache, prompt, most, ENDS, self._check):
            yield tokens.decode([each for each in answer if each not in ends]), len(answer)

    def _fitted(self, answer: str) -> str:
        return replacement(self.ask, answer).replace("\n", newline_of(self.request.text))

    def _judged(self, answer: str, *, ended: bool) -> Fill:
        hole = self.request.holes[0]
        text = self._fitted(answer)
        if not ended:
            return nothing("The answer did not end, so nothing of it is offered.")
        if not text.strip():
            return nothing("The model wrote nothing.")
        if text == self.request.text[hole.start : hole.end]:
            return nothing("The model would leave everything as it is.")
        gate = SyntaxGate(self.request.text, self.request.holes, self.ask.language or None)
        verdict = gate.judge((text,))
        if verdict.status == "worse":
            return replace(nothing("The answer would have broken the syntax."), verdict=verdict, treatment="rejected")
        return Fill((text,), verdict)

    def _check(self) -> None:
        if self.cancelled():
            raise FillCancelled("The fill was cancelled.")


def _too_long(ask: InstructAsk, selected: int, whole: int) -> str:
    """Say how much would fit."""
    lines = ask.selection.count("\n") + 1
    room = max(0, LONGEST - (whole - selected))
    fit = lines * room // max(selected, 1)
    if not fit:
        return f"The instruction is too long: {LONGEST:,} tokens fit with all that is shown, and it makes {whole:,} of them."
    return f"The selection of {lines:,} lines is too long: about {fit:,} of them would fit."
