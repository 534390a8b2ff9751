"""Put a conversation to a server: `/v1/chat/completions`, as OpenAI, llama.cpp, Ollama, vLLM and others serve it."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

from palimpsest_engine.errors import EndpointError
from palimpsest_engine.prompt.conversation import Message
from palimpsest_engine.remote.asking import Cancelled, ChatAsk, NoChat, Piece, cut_short
from palimpsest_engine.remote.refusal import Refused
from palimpsest_engine.remote.transport import Transport

PATH = "/v1/chat/completions"
_BASE = re.compile(r"(?:^|[-_:./])(?:base|pretrain(?:ed)?)(?:$|[-_:./])", re.IGNORECASE)
_NONE = (404, 405, 501)  # of a server without chats


class Completions:
    """Conversations by chat completions. model: as the server knows it, None for its only one."""

    def __init__(self, transport: Transport, model: str | None) -> None:
        self._transport, self._model = transport, model
        self._plain = False  # the limit by its old name, and no choice of chance
        self.place = transport.address.place

    def answer(self, ask: ChatAsk, cancelled: Cancelled) -> Generator[Piece, None, None]:
        """Yield the pieces of an answer."""
        body: dict[str, Any] = {
            "messages": [{"role": each.role, "content": each.text} for each in ask.messages],
            "stream": True,
        }
        if self._model is not None:
            body["model"] = self._model
        usual = {"max_tokens": ask.tokens, "temperature": 0, "seed": ask.seed}
        try:
            yield from self._pieces(body | ({"max_completion_tokens": ask.tokens} if self._plain else usual), cancelled)
        except Refused as refused:
            said = refused.said.lower()
            if refused.status in _NONE or "chat template" in said or "chat_template" in said:
                raise NoChat(
                    f"{self.place} takes no chats ({PATH}: {refused.status}), so its model cannot be told what to do."
                ) from None
            if self._plain or refused.status != 400 or not re.search("max_tokens|temperature|seed", said):
                raise
            self._plain = True  # models that think take neither
            yield from self._pieces(body | {"max_completion_tokens": ask.tokens}, cancelled)

    def _pieces(self, body: dict[str, Any], cancelled: Cancelled) -> Generator[Piece, None, None]:
        with closing(self._transport.events(PATH, body, cancelled, chat=True)) as events:
            for event in events:
                choices = event.get("choices")
                if not isinstance(choices, list):
                    raise EndpointError(f"{self.place} answers without the field choices, which its protocol has.")
                if not choices:  # the count of tokens comes so
                    continue
                text, why = self._said(choices[0])
                yield Piece(0, text, "" if not why else "limit" if why == "length" else "stop")
                if why:
                    return
        raise cut_short(self.place)

    def _said(self, choice: Any) -> tuple[str, Any]:
        """Return the next text of a choice, and why it ended. Thoughts are in fields of their own, and left out."""
        message = (choice.get("delta") or choice.get("message") or {}) if isinstance(choice, dict) else None
        text = message.get("content") if isinstance(message, dict) else 0
        if text is not None and not isinstance(text, str):
            raise EndpointError(f"{self.place} answers without the field content, which its protocol has.")
        return text or "", choice.get("finish_reason")


def is_base(model: str) -> bool:
    """Return whether a model was not made to chat, by its name."""
    return _BASE.search(model) is not None


def without_thoughts(answer: str) -> str:
    """Return an answer without the thoughts that some servers leave at its beginning."""
    if not answer.lstrip().startswith("<think>"):
        return "" if "<think>".startswith(answer.strip()) else answer
    return answer.partition("</think>")[2]


_CONTROL = re.compile(
    r"<\|[^\s<>|]+\|>|<｜[^\s<>｜]+｜>|</?(?:start|end)_of_turn>|<\|[^\s<>|]+>|<[^\s<>|]+\|>|\[/?INST\]|</?s>"
)


class Unmarked:
    """Texts without control tokens: a server would take them for its own. They are broken up, and mended in an answer."""

    def __init__(self) -> None:
        self._broken: dict[str, str] = {}

    def messages(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return messages with each control token broken up."""
        return tuple(Message(each.role, _CONTROL.sub(self._break, each.text)) for each in messages)

    def mended(self, answer: str) -> str:
        """Return an answer with those control tokens whole again that were broken up in what was sent."""
        for broken, control in self._broken.items():
            answer = answer.replace(broken, control)
        return answer

    def _break(self, found: re.Match[str]) -> str:
        broken = f"{found[0][:1]} {found[0][1:]}"
        self._broken[broken] = found[0]
        return broken
