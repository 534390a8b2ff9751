"""Show as text what a model reads for a request: the layout read back, without loading any weights."""

from __future__ import annotations

from dataclasses import dataclass

from palimpsest_engine.checkpoint.describe import describe
from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.prompt.layout import lay_out
from palimpsest_engine.prompt.pieces import pieces
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import FillRequest
from palimpsest_engine.syntax.grammars import language_of


@dataclass(frozen=True, slots=True)
class Seen:
    """context: the encoder's text, control tokens spelled out. begins: text that the hole has to begin with, because the
    cursor stands in a token (healing). pins: text behind the hole in the canvas, as much as can fit. tokens: length of the
    context, at most `spec.context`; with the text behind the hole where each pass reads both sides.
    """

    context: str
    begins: str
    pins: str
    tokens: int
    spec: Spec


def seen(settings: EngineSettings, request: FillRequest) -> Seen:
    """Return the text that the checkpoint of these settings would read. Raises what loading its tokenizer raises."""
    described = describe(settings)
    spec, tokens = described.spec, Tokens(described.tokenizer, described.vocabulary)
    language = language_of(request.path, request.language)
    layout = lay_out(pieces(request), spec, tokens, language, request.context, request.path)
    read, sides = [*layout.context, *layout.left], spec.dialect == "sides"
    pinned = spec.canvas - min((*spec.hole_sizes, *spec.line_sizes)) if spec.whole_canvas else spec.pins
    right = layout.right if sides else layout.right[:pinned]
    spelled = tokens.tokenizer.decode(read, skip_special_tokens=False)
    pins = tokens.tokenizer.decode(list(right), skip_special_tokens=False)
    return Seen(spelled, layout.healed, pins, len(read) + sides * len(right), spec)
