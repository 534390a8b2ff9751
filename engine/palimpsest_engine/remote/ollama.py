"""Speak `/api/generate` of Ollama: with `suffix` where the model's template has a place for it, else with a raw prompt."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from palimpsest_engine.engine import Endpoint
from palimpsest_engine.errors import EndpointError
from palimpsest_engine.prompt.dialects import PREFIX_ONLY, Dialect
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


class Ollama:
    """An Ollama server. A named dialect overrides the model's template."""

    name = "ollama"
    many = False
    context = None  # it cuts long prompts to its own length, and does not say to which

    def __init__(self, transport: Transport, endpoint: Endpoint) -> None:
        """Ask the server for its version and models. Raises EndpointError if it is no Ollama, or has not the wanted model."""
        place, version = transport.address.place, transport.ask("GET", "/api/version")
        if not isinstance(version, dict) or not isinstance(version.get("version"), str):
            raise EndpointError(f"{place} is no server of Ollama; see the key protocol of the setting endpoint.")
        told = transport.ask("GET", "/api/tags")
        models = told.get("models") if isinstance(told, dict) else None
        names = [str(each["name"]) for each in models or () if isinstance(each, dict) and each.get("name")]
        self._transport, self._model = transport, named(names, endpoint.model, place)
        self.model = short_name(self._model)
        self._dialect: Dialect = dialect_named(endpoint.dialect, self.model) or PREFIX_ONLY
        self.edits = edits_named(endpoint.dialect, self.model)
        self.chats: Chats | None = None if is_base(self.model) else Completions(transport, self._model)
        details = transport.ask("POST", "/api/show", {"model": self._model})
        abilities = details.get("capabilities") if isinstance(details, dict) else None
        # Versions without that list say so when they are asked to insert.
        self._suffix = endpoint.dialect is None and (not isinstance(abilities, list) or "insert" in abilities)

    @property
    def note(self) -> str:
        """Return a sentence if the model sees only one side."""
        return PREFIX_ONLY_NOTE if not self._suffix and self._dialect is PREFIX_ONLY else ""

    def complete(self, ask: Ask, cancelled: Cancelled) -> Generator[Piece, None, None]:
        """Yield the pieces of a middle."""
        options = {"num_predict": ask.tokens, "temperature": ask.temperature, "seed": ask.seed, "stop": ask.stops}
        body: dict[str, Any] = {"model": self._model, "stream": True, "options": options}
        if ask.prompt:
            yield from self._pieces(body | {"prompt": ask.prompt, "raw": True}, cancelled)
            return
        if self._suffix:
            prefix, suffix = sides(ask)
            try:
                # An empty suffix would make a question of the prompt.
                yield from self._pieces(body | {"prompt": prefix, "suffix": suffix or "\n"}, cancelled)
                return
            except Refused as refused:
                if "insert" not in refused.said.lower():
                    raise
                self._suffix = False
        options["stop"] = (*ask.stops, *self._dialect.ends)
        yield from self._pieces(body | {"prompt": prompt_of(ask, self._dialect), "raw": True}, cancelled)

    def _pieces(self, body: dict[str, Any], cancelled: Cancelled) -> Generator[Piece, None, None]:
        place = self._transport.address.place
        with closing(self._transport.events("/api/generate", body, cancelled)) as events:
            for event in events:
                text, over = text_in(event, "response", place), event.get("done") is True
                limit = event.get("done_reason") == "length"
                yield Piece(0, text, ("limit" if limit else "stop") if over else "")
                if over:
                    return
        raise cut_short(place)
