"""Speak with the server of llama.cpp: `/completion` with a prompt of ours if the dialect is known, else `/infill`."""

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
    short_name,
    text_in,
)
from palimpsest_engine.remote.chat import Completions, is_base
from palimpsest_engine.remote.prompts import dialect_named, edits_named, prompt_of
from palimpsest_engine.remote.refusal import Refused
from palimpsest_engine.remote.transport import Transport


class LlamaCpp:
    """A llama.cpp server.

    `/infill` lays the prompt out by the model's own tokens, prefix first; our own prompt has the suffix first, where a model
    was taught that, and is used if the dialect is known. palimpsest: it is one of ours, which lays prompts out itself.
    """

    name = "llama.cpp"
    many = False

    def __init__(self, transport: Transport, endpoint: Endpoint) -> None:
        """Ask the server what it is. Raises EndpointError if it is no llama.cpp, or does not say."""
        properties = transport.ask("GET", "/props")
        if not isinstance(properties, dict) or not isinstance(properties.get("default_generation_settings"), dict):
            raise EndpointError(
                f"{transport.address.place} is no server of llama.cpp; see the key protocol of the setting endpoint."
            )
        self._transport, self._wanted = transport, endpoint.model
        told = next((properties[name] for name in ("model_alias", "model_path") if properties.get(name)), "")
        self.model = short_name(endpoint.model or str(told))
        length = properties["default_generation_settings"].get("n_ctx")
        self.context = length if isinstance(length, int) and length > 0 else None
        known = dialect_named(endpoint.dialect, self.model)
        self._dialect: Dialect = known or PREFIX_ONLY
        self.palimpsest = str(properties.get("build_info", "")).startswith("palimpsest ")
        self._infill = self.palimpsest or known is None
        self.edits = "" if self.palimpsest else edits_named(endpoint.dialect, self.model)
        self.chats: Chats | None = (
            None if self.palimpsest or is_base(self.model) else Completions(transport, self._wanted)
        )

    @property
    def note(self) -> str:
        """Return a sentence if the model sees only one side."""
        return PREFIX_ONLY_NOTE if not self._infill and self._dialect is PREFIX_ONLY else ""

    def complete(self, ask: Ask, cancelled: Cancelled) -> Generator[Piece, None, None]:
        """Yield the pieces of a middle."""
        options: dict[str, Any] = {
            "n_predict": ask.tokens,
            "temperature": ask.temperature,
            "seed": ask.seed,
            "stop": ask.stops,
            "stream": True,
            "cache_prompt": True,
        }
        if self._wanted is not None:
            options["model"] = self._wanted
        if ask.prompt:
            yield from self._pieces("/completion", options | {"prompt": ask.prompt}, cancelled)
            return
        if self._infill:
            extra = [{"filename": each.title, "text": each.text} for each in ask.excerpts]
            sides = {"input_prefix": ask.prefix, "input_suffix": ask.suffix, "input_extra": extra, "prompt": ""}
            try:
                yield from self._pieces("/infill", options | sides, cancelled)
                return
            except Refused as refused:
                if refused.status not in (404, 501):
                    raise
                self._infill = False
        options["stop"] = (*ask.stops, *self._dialect.ends)
        yield from self._pieces("/completion", options | {"prompt": prompt_of(ask, self._dialect)}, cancelled)

    def _pieces(self, path: str, body: dict[str, Any], cancelled: Cancelled) -> Generator[Piece, None, None]:
        place = self._transport.address.place
        with closing(self._transport.events(path, body, cancelled)) as events:
            for event in events:
                text, over = text_in(event, "content", place), event.get("stop") is True
                limit = event.get("stop_type") == "limit" or event.get("truncated") is True
                yield Piece(0, text, ("limit" if limit else "stop") if over else "")
                if over:
                    return
        raise cut_short(place)
