"""Have the chat model of a server do with the text in a hole as a user has instructed.

A conversation is laid out and judged as one with a model here. An answer cannot be begun for a server, so its first block of
code counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import PurePath

from palimpsest_engine.errors import EndpointError
from palimpsest_engine.fill.answering import conversation_of, fitted, judged, limit_of, refused, too_long
from palimpsest_engine.fill.following import nothing
from palimpsest_engine.prompt.conversation import Conversation, Message, code_in
from palimpsest_engine.remote.asking import Cancelled, ChatAsk, Chats
from palimpsest_engine.remote.chat import Unmarked, without_thoughts
from palimpsest_engine.remote.ending import clean
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest

CONTEXT = 8192  # tokens of a server that does not say how many it takes: it says when they are too many
CHARACTERS = 2.5  # in a token of code, at least, on average
_TOKEN = 32  # code points that no token on average exceeds
_FRAME = 128  # tokens around the texts


class ChatFill:
    """The answer to one request with an instruction. context: tokens that the server takes, None if it does not say."""

    def __init__(self, chats: Chats, context: int | None, request: FillRequest, cancelled: Cancelled) -> None:
        if request.path:
            request = replace(request, path=PurePath(request.path).name)
        self.chats, self.context, self.request, self.cancelled = chats, context or CONTEXT, request, cancelled

    def run(self) -> Iterator[Draft | Fill]:
        """Yield a draft for each piece that comes, then the `Fill`: the answer, or nothing and the reason."""
        if reason := refused(self.request):
            yield nothing(reason)
            return
        conversation = conversation_of(self.request)
        selected = _tokens(conversation.ask.selection)
        most = limit_of(self.request, selected)
        room = self.context - most - _FRAME
        conversation = conversation.fitting(lambda each: _size(each) <= room)
        if (size := _size(conversation)) > room:
            twice = selected * (2 if self.request.task == "rewrite" else 1)  # it is shown, and written anew
            yield nothing(too_long(conversation, twice, size + most + _FRAME, self.context))
            return
        unmarked = Unmarked()
        ask = ChatAsk(unmarked.messages(_sendable(conversation.messages())), most, self.request.seed)
        said, end, pieces, text = "", "", 0, ""
        with closing(self.chats.answer(ask, self.cancelled)) as written:
            for piece in written:
                said, end, pieces = said + piece.text, piece.end, pieces + 1
                if len(said) > _TOKEN * (most + 64):
                    raise EndpointError(f"The endpoint writes more than the {most} tokens that it was asked for.")
                text, over = self._read(unmarked.mended(without_thoughts(clean(said))), whole=bool(end))
                shown = fitted(self.request, conversation, text)
                yield Draft(pieces, ((DraftPiece(shown, True),),), min(1.0, _tokens(said) / most), written=True)
                if over:
                    end = "stop"
                    break
        yield replace(judged(self.request, conversation, text, ended=end == "stop"), nfe=pieces)

    def _read(self, said: str, *, whole: bool) -> tuple[str, bool]:
        """Return what of an answer counts, and whether it ends there. Prose before the code shows only once all has come."""
        if self.request.task == "explain":
            return said, False
        code, begun, closed = code_in(said)
        return (code if begun or whole else ""), closed


def _size(conversation: Conversation) -> int:
    """Return about how many tokens the messages have."""
    return sum(_tokens(each.text) for each in conversation.messages())


def _tokens(text: str) -> int:
    return -int(-len(text) // CHARACTERS)


def _sendable(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return messages without halves of characters."""
    return tuple(Message(each.role, clean(each.text).encode("utf-8", "replace").decode("utf-8")) for each in messages)
