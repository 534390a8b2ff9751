"""What the model would be given for a request, as text: the layout read back, without loading any weights."""

from __future__ import annotations

from dataclasses import dataclass

from palimpsest_engine.checkpoint.load import locate, read_json, read_tokenizer
from palimpsest_engine.checkpoint.spec import Spec, read_spec
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.prompt.layout import lay_out
from palimpsest_engine.prompt.pieces import pieces
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import FillRequest
from palimpsest_engine.syntax.gate import language_of


@dataclass(frozen=True, slots=True)
class Seen:
    """context: what the encoder reads, control tokens spelled out. begins: text that the hole has to begin with, because
    the cursor stands in a token (healing). pins: what stands behind the hole in the canvas, as far as it can fit.
    tokens: of the context, out of `spec.context` at most.
    """

    context: str
    begins: str
    pins: str
    tokens: int
    spec: Spec


def seen(settings: EngineSettings, request: FillRequest) -> Seen:
    """What the checkpoint of these settings would see. Raises what loading its tokenizer raises."""
    folder = locate(settings.checkpoint)
    spec = read_spec(folder)
    config = read_json(folder / "config.json")
    tokens = Tokens(read_tokenizer(folder), int(config.get("text_config", config)["vocab_size"]))
    language = language_of(request.path, request.language)
    layout = lay_out(pieces(request), spec, tokens, language, request.context)
    spelled = tokens.tokenizer.decode(list(layout.context), skip_special_tokens=False)
    pins = tokens.tokenizer.decode(list(layout.right[: spec.pins]), skip_special_tokens=False)
    return Seen(spelled, layout.healed, pins, len(layout.context), spec)
