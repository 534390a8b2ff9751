"""Do with the text in a hole as a user has instructed, by diffusion: with an instruction-tuned model and its chat template.

A replacement is denoised in its place: the text before it begins the model's answer, and the text after it is pinned. New
code and explanations have no place, so they are denoised canvas after canvas until the model ends its turn.
Belongs to the thread that owns the model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import replace

from palimpsest_engine.checkpoint.spec import known_turns
from palimpsest_engine.errors import FillCancelled
from palimpsest_engine.fill.answering import LONGEST, conversation_of, fitted, judged, limit_of, too_long
from palimpsest_engine.fill.candidates import Candidates
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.detokenize import Detokenizer
from palimpsest_engine.fill.following import nothing
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.fill.start import Start
from palimpsest_engine.fill.tracing import Trace
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.conversation import as_one_question, with_ending
from palimpsest_engine.prompt.layout import Layout, window_for
from palimpsest_engine.prompt.pieces import plain
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest, Span

FOLLOWED = 0.6  # strength: the share of an answer that becomes noise when it is rewritten once more
NEAR = (
    1.0,
    1.35,
    2.0,
    0.75,
)  # lengths that are tried, as multiples of the selection's: most instructions add something
WRITTEN = (
    64  # tokens that a text written left to right beside them may have more than the selection, and its most passes
)
THOUGHTS = 4  # canvases of them at most
_THOUGHT, _THOUGHT_END = "<|channel>", "<channel|>"


class InstructedCanvas:
    """The answer to one request with an instruction. cache: of what is said about the document."""

    def __init__(
        self, resources: Resources, request: FillRequest, cache: PrefixCache, cancelled: Callable[[], bool]
    ) -> None:
        self.resources, self.request, self.cache, self.cancelled = resources, request, cache, cancelled
        self.conversation, self.tokens = conversation_of(request), resources.tokens
        self.passes = self.encoded = 0

    def run(self) -> Iterator[Draft | Fill]:
        """Yield drafts of the answer, then the `Fill`: the answer, or nothing and the reason."""
        most = min(LONGEST, self.resources.spec.context * 3 // 4)
        self.conversation = self.conversation.fitting(lambda each: len(self._question(as_one_question(each))) <= most)
        question = as_one_question(self.conversation)
        if (size := len(self._question(question))) > most:
            selected = len(self.tokens.encode(self.conversation.ask.selection))
            yield nothing(too_long(self.conversation, selected, size, most))
            return
        if self.request.task == "rewrite":
            ending = self._ending(most - size)
            question = with_ending(question, self.conversation.ask.language, ending)
        asked = self._question(question)
        if self.resources.spec.chat.thinking:
            asked = yield from self._thought(asked)
        if self.request.task == "explain":
            fill = yield from self._new(asked)
        else:
            asked += self.tokens.encode(f"```{self.conversation.ask.language}\n")
            fill = yield from (self._rewritten(asked) if self.request.task == "rewrite" else self._new(asked))
        yield fill

    def _question(self, question: str) -> list[int]:
        """Return the prompt with a question, up to where the model's answer begins."""
        chat = self.resources.spec.chat
        before, after = chat.turns or known_turns(chat)
        return self.tokens.joined([*self.tokens.spelled(before), question, *self.tokens.spelled(after)])

    def _ending(self, most: int) -> str:
        """Return the text after the hole, in so many tokens at most."""
        most = min(most, self.resources.spec.suffix)
        text = plain(self.request.text[self.request.holes[0].end :])[: window_for(max(0, most))]
        ends = self.tokens.offsets(text)
        return text if len(ends) <= most else text[: [0, *ends][max(0, most)]]

    def _thought(self, asked: list[int]) -> Generator[Draft, None, list[int]]:
        """Let the model think; return the prompt with its thoughts, after which the answer begins. They are not shown."""
        end = self.tokens.control(_THOUGHT_END)
        begun = [*asked, self.tokens.control(_THOUGHT), *self.tokens.encode("thought\n")]
        steps = self._free(begun, {end}, THOUGHTS)
        try:
            while True:
                yield replace(next(steps), holes=((DraftPiece("", False),),), settled_share=0.0)
        except StopIteration as over:
            thoughts, _ = over.value
        return [*begun, *thoughts, end]

    def _new(self, asked: list[int]) -> Generator[Draft, None, Fill]:
        """Write new code, or an explanation."""
        most = limit_of(self.request, 0)
        work = self._free(asked, self.resources.ends, -(-most // self.resources.spec.canvas))
        try:
            while True:
                step = next(work)
                shown = fitted(self.request, self.conversation, plain(step.texts[0]))
                yield replace(step, holes=((DraftPiece(shown, False),),))
        except StopIteration as over:
            written, ended = over.value
        text = self.tokens.decode(written[:most])
        fill = judged(self.request, self.conversation, text, ended=ended and len(written) <= most)
        return replace(fill, nfe=self.passes, encoded=self.encoded, context=len(asked))

    def _free(
        self, asked: list[int], ends: Collection[int], canvases: int
    ) -> Generator[Draft, None, tuple[list[int], bool]]:
        """Write whole canvases after a prompt until a token of `ends` or, of code, a fence; return the tokens before that,
        and whether it came."""
        banned = self.resources.all_banned.clone()
        banned[list(ends)] = False
        layout = Layout(tuple(asked), "", (), (), min(self.resources.ends))
        candidates = Candidates(
            replace(self.resources, all_banned=banned),
            replace(self.request, strength=1.0),
            self.cache,
            Detokenizer(self.request, self.tokens, self.resources.spec.filler, ""),
            Trace(self.request, self.tokens),
            Start(),
            self.cancelled,
        )
        self.encoded += self.cache.encode(asked, self._check)
        begun, written = self.passes, list[int]()
        for _ in range(canvases):
            layout = yield from candidates.block(layout)
            self.passes = begun + candidates.nfe
            written = list(layout.context[len(asked) :])
            end = next((at for at, token in enumerate(written) if token in ends), None)
            if end is not None:
                return written[:end], True
            if self.request.task == "write" and "\n```" in self.tokens.decode(written):
                return written, True
        return written, False

    def _rewritten(self, asked: list[int]) -> Generator[Draft, None, Fill]:
        """Denoise the replacement in its place: between the margin of its first line and the text after it."""
        hole, text = self.request.holes[0], self.request.text
        selection = text[hole.start : hole.end]
        bare = selection.strip()
        lead, _, trail = selection.partition(bare) if bare else (selection, "", "")
        present, spec = len(self.tokens.encode(plain(bare))), self.resources.spec
        seeded = present + min(spec.hole_sizes) + spec.pins <= spec.canvas
        inner = replace(
            self.request,
            holes=(Span(hole.start + len(lead), hole.end - len(trail)),),
            strength=FOLLOWED if self.request.turns and seeded else 1.0,
            instruction="",
            turns=(),
            diagnostics=(),
            context=(),
        )
        spec = replace(spec, near=NEAR, written=present + WRITTEN, written_passes=WRITTEN)
        resources = replace(self.resources, spec=spec)
        work, fill = CanvasFill(resources, inner, self.cache, self.cancelled, asked=asked), nothing("")
        for event in work.run():
            if isinstance(event, Fill):
                fill = event
            else:
                (pieces,) = event.holes
                around = DraftPiece(lead, True), *pieces, DraftPiece(trail, True)
                yield replace(event, step=event.step + self.passes, holes=(around,))
        texts, *others = (tuple(lead + each + trail for each in texts) for texts in (fill.texts, *fill.alternatives))
        fill = replace(fill, nfe=fill.nfe + self.passes, encoded=fill.encoded + self.encoded)
        if fill.empty:
            return fill
        if texts == (selection,):
            return replace(fill, texts=("",), reason="The model would leave everything as it is.", alternatives=())
        return replace(fill, texts=texts, alternatives=tuple(others))

    def _check(self) -> None:
        if self.cancelled():
            raise FillCancelled("The fill was cancelled.")
