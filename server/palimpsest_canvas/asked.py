"""The bodies that the page sends, and the request that comes of one."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from palimpsest_api.refusals import Refusal
from palimpsest_canvas import traced
from palimpsest_canvas.document import MOST
from palimpsest_engine import FillRequest, Span, StartPiece

_PIECES, _SLOTS, _KEYS, _STEPS, _TEMPERATURE = 4096, 4096, 2**31 - 1, 10_000, 10.0

_Short = Annotated[str, Meta(max_length=1000)]
_Text = Annotated[str, Meta(max_length=MOST)]


class Piece(msgspec.Struct, forbid_unknown_fields=True):
    """A stretch of the hole as its canvas begins, as in `StartPiece`."""

    state: Literal["pinned", "present", "noise"]
    text: _Text = ""
    slots: Annotated[int, Meta(ge=0, le=_SLOTS)] = 0
    key: Annotated[int, Meta(ge=-_KEYS, le=_KEYS)] | None = None


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/fill`."""

    text: _Text
    start: Annotated[int, Meta(ge=0)]
    end: Annotated[int, Meta(ge=0)]
    language: _Short | None = None
    name: _Short = ""
    strength: Annotated[float, Meta(gt=0, le=1)] = 1.0
    steps: Annotated[int, Meta(ge=1, le=_STEPS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=_TEMPERATURE)] | None = None
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    model: _Short | None = None
    beside: bool = False
    pieces: Annotated[list[Piece], Meta(max_length=_PIECES)] | None = None
    uri: Annotated[str, Meta(max_length=10_000)] | None = None
    version: int | None = None


class Written(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/runs/{id}/apply`: one text a hole."""

    texts: Annotated[list[_Text], Meta(max_length=1000)]


def request_of(asked: Asked, document: str) -> FillRequest:
    """Return the request. document: its identity for the engine. Raises Refusal for a hole outside of the text."""
    if not asked.start <= asked.end <= len(asked.text):
        raise Refusal(400, f"The hole has to lie in the text, which has {len(asked.text)} characters.")
    pieces = tuple(StartPiece(each.state, each.text, each.slots, each.key) for each in asked.pieces or ())
    return traced.request_of(
        asked.text,
        Span(asked.start, asked.end),
        document=document,
        name=asked.name,
        language=asked.language,
        seed=asked.seed,
        strength=asked.strength,
        steps=asked.steps,
        temperature=asked.temperature,
        start=pieces,
    )
