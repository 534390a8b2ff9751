"""Speak `/v1/completions` as OpenAI defined it, and as vLLM, LM Studio, Ollama, TGI and others serve it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from palimpsest_engine.engine import Endpoint
from palimpsest_engine.errors import EndpointError
from palimpsest_engine.prompt.dialects import PREFIX_ONLY
from palimpsest_engine.remote.asking import (
    PREFIX_ONLY_NOTE,
    Ask,
    Cancelled,
    Chats,
    Piece,
    cut_short,
    named,
    short_name,
    text_in,
)
from palimpsest_engine.remote.chat import Completions, is_base
from palimpsest_engine.remote.prompts import dialect_named, edits_named, prompt_of, sides
from palimpsest_engine.remote.refusal import Refused
from palimpsest_engine.remote.transport import Transport

_STOPS = 4  # OpenAI takes no more


class OpenAI:
    """A server of the completions API. The prompt is written in the model's dialect; if that is not known, the server is
    given the suffix, and if it takes none, the model reads only the text before the hole. Palimpsest's own server is always
    given the suffix."""

    name = "openai"

    def __init__(self, transport: Transport, endpoint: Endpoint) -> None:
        """Ask the server for its models. Raises EndpointError if it has none, or not the wanted one."""
        told = transport.ask("GET", "/v1/models")
        models = told.get("data") if isinstance(told, dict) else None
        if not isinstance(models, list):
            raise EndpointError(f"{transport.address.place} does not list its models as OpenAI's protocol says.")
        known = {str(each["id"]): each for each in models if isinstance(each, dict) and each.get("id")}
        self._transport = transport
        self._model = named(list(known), endpoint.model, transport.address.place)
        self.model = short_name(self._model)
        length = known.get(self._model, {}).get("max_model_len")  # vLLM says so
        self.context = length if isinstance(length, int) and length > 0 else None
        ours = known.get(self._model, {}).get("owned_by") == "palimpsest"
        self._dialect = None if ours else dialect_named(endpoint.dialect, self.model)
        self.edits = "" if ours else edits_named(endpoint.dialect, self.model)
        self.chats: Chats | None = None if ours or is_base(self.model) else Completions(transport, self._model)
        self.many = self._suffix = True

    @property
    def note(self) -> str:
        """Return a sentence if the model sees only one side."""
        return PREFIX_ONLY_NOTE if self._dialect is None and not self._suffix else ""

    def complete(self, ask: Ask, cancelled: Cancelled) -> Generator[Piece, None, None]:
        """Yield the pieces of the middles."""
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": ask.tokens,
            "temperature": ask.temperature,
            "seed": ask.seed,
            "stream": True,
        }
        if ask.count > 1:
            body["n"] = ask.count
        dialect = self._dialect
        if ask.prompt:
            given = {"prompt": ask.prompt, "stop": ask.stops[:_STOPS]}
            yield from self._pieces(body | given, ask.count, cancelled)
            return
        if dialect is None and self._suffix:
            prefix, suffix = sides(ask)
            try:
                given = {"prompt": prefix, "suffix": suffix, "stop": ask.stops[:_STOPS]}
                yield from self._pieces(body | given, ask.count, cancelled)
                return
            except Refused as refused:
                if "suffix" not in refused.said.lower():
                    raise
                self._suffix = False
        dialect = dialect or PREFIX_ONLY
        stops = (*ask.stops, *dialect.ends)[:_STOPS]
        yield from self._pieces(body | {"prompt": prompt_of(ask, dialect), "stop": stops}, ask.count, cancelled)

    def _pieces(self, body: dict[str, Any], count: int, cancelled: Cancelled) -> Generator[Piece, None, None]:
        place, left = self._transport.address.place, set(range(count))
        with closing(self._transport.events("/v1/completions", body, cancelled)) as events:
            for event in events:
                choices = event.get("choices")
                if not isinstance(choices, list):
                    raise EndpointError(f"{place} answers without the field choices, which its protocol has.")
                for choice in choices:
                    index = choice.get("index", 0) if isinstance(choice, dict) else None
                    if not isinstance(index, int) or not 0 <= index < count:
                        raise EndpointError(f"{place} answers with a choice that was not asked for.")
                    if index not in left:
                        continue
                    why = choice.get("finish_reason")
                    yield Piece(
                        index, text_in(choice, "text", place), "" if not why else "limit" if why == "length" else "stop"
                    )
                    if why:
                        left.discard(index)
                if not left:
                    return
        raise cut_short(place)
