"""Do with the text in a hole as a user has instructed: a chat model writes its replacement, new code, or an explanation.

Belongs to the thread that owns the model. The conversation is laid out by `prompt/conversation.py`, the answer judged by
`answering.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from palimpsest_engine.errors import FillCancelled
from palimpsest_engine.fill.answering import (
    LONGEST,
    NO_CHAT,
    conversation_of,
    fitted,
    judged,
    limit_of,
    refused,
    too_long,
)
from palimpsest_engine.fill.copying import copying
from palimpsest_engine.fill.following import nothing
from palimpsest_engine.fill.instructed_canvas import InstructedCanvas
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.conversation import Conversation, chatml_of
from palimpsest_engine.prompt.edit_formats import Mark
from palimpsest_engine.prompt.instruct import ends_of
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest

CACHED = "\nconversation"  # behind the identity of a document: of the cache of what is said about it
_TURN_END = "<|im_end|>"


class Instructed:
    """The answer to one request with an instruction. cache: of the conversation about the document."""

    def __init__(
        self, resources: Resources, request: FillRequest, cache: PrefixCache, cancelled: Callable[[], bool]
    ) -> None:
        self.resources, self.request, self.cache, self.cancelled = resources, request, cache, cancelled

    def run(self) -> Iterator[Draft | Fill]:
        """Yield drafts of the answer, then the `Fill`: the answer, or nothing and the reason."""
        self._check()
        if not self.resources.spec.instructs:
            yield nothing(NO_CHAT)
        elif reason := refused(self.request):
            yield nothing(reason)
        elif self.resources.spec.edits == "chatml":
            yield from self._left_to_right()
        else:
            yield from InstructedCanvas(self.resources, self.request, self.cache, self.cancelled).run()

    def _left_to_right(self) -> Iterator[Draft | Fill]:
        resources = _with_turn_end(self.resources)
        tokens, conversation = resources.tokens, conversation_of(self.request)
        selected = len(tokens.encode(conversation.ask.selection))
        conversation = conversation.fitting(lambda each: len(_encoded(tokens, each)) <= LONGEST)
        prompt = _encoded(tokens, conversation)
        if len(prompt) > LONGEST:
            yield nothing(too_long(conversation, selected, len(prompt), LONGEST))
            return
        encoded = self.cache.encode(prompt, self._check)
        most, answer, passes, count = limit_of(self.request, selected), "", 0, 0
        for answer, count in self._written(resources, conversation, prompt, most):
            passes += 1
            shown = fitted(self.request, conversation, answer)
            yield Draft(passes, ((DraftPiece(shown, True),),), count / most, written=True)
        fill = judged(self.request, conversation, answer, ended=count < most)
        yield replace(fill, nfe=passes, encoded=encoded, context=len(prompt))

    def _written(
        self, resources: Resources, conversation: Conversation, prompt: list[int], most: int
    ) -> Iterator[tuple[str, int]]:
        """Write the answer; yield it so far, and its tokens."""
        tokens, ends = resources.tokens, resources.ends
        # A block of code may be part of an explanation.
        stops = () if conversation.task == "explain" else ends_of(conversation.ask)
        for answer in copying(resources, self.cache, prompt, most, stops, self._check):
            yield tokens.decode([each for each in answer if each not in ends]), len(answer)

    def _check(self) -> None:
        if self.cancelled():
            raise FillCancelled("The fill was cancelled.")


def _with_turn_end(resources: Resources) -> Resources:
    """Return the resources with the end of a turn among the tokens that end what is written."""
    end = resources.tokens.tokenizer.token_to_id(_TURN_END)
    if end is None or end in resources.ends:
        return resources
    allowed = resources.banned_but_ends.clone()
    allowed[end] = False
    return replace(resources, ends=resources.ends | {end}, banned_but_ends=allowed)


def _encoded(tokens: Tokens, conversation: Conversation) -> list[int]:
    return tokens.joined(tokens.control(part) if isinstance(part, Mark) else part for part in chatml_of(conversation))
