"""Say which graphics cards a mixture of experts fits, in which format and with how long a context. Reads no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from palimpsest_engine.checkpoint import shape_26b
from palimpsest_engine.checkpoint.header import Shapes
from palimpsest_engine.checkpoint.memory import Fill, fill_of, longest, needed
from palimpsest_engine.engine import EngineSettings, Quantization
from palimpsest_engine.errors import PalimpsestError

CARDS = (12, 16, 24, 32, 48, 80)  # GiB, as cards are sold
DRIVER = 0.4 * 2**30  # bytes that a card without a screen keeps for its driver and a process; an estimate


@dataclass(frozen=True, slots=True)
class Card:
    """A card and the most exact format that fits it. gigabytes: its memory in GiB. quantization: None if nothing fits.
    needed: bytes; context: tokens. smaller: less exact formats, which fit, too."""

    gigabytes: int
    quantization: Quantization | None
    needed: float
    context: int
    smaller: tuple[Quantization, ...]


def cards(shapes: Shapes, fill: Fill) -> list[Card]:
    """Return the choice for each card."""
    found = list[Card]()
    for gigabytes in CARDS:
        free = gigabytes * 2**30 - DRIVER
        contexts = {each: longest(shapes, "bfloat16", each, fill, free) for each in get_args(Quantization)}
        fitting = [(each, context) for each, context in contexts.items() if context is not None]
        if not fitting:
            found.append(Card(gigabytes, None, 0.0, 0, ()))
            continue
        best, context = fitting[0]
        takes = needed(shapes, "bfloat16", best, fill, context)
        found.append(Card(gigabytes, best, takes, context, tuple(each for each, _ in fitting[1:])))
    return found


def subject(settings: EngineSettings) -> tuple[str, Shapes, Fill]:
    """Return (name, shapes, what a fill takes) of the mixture that the settings choose, or else of the published 26B."""
    from palimpsest_engine.checkpoint.source import mixture

    try:
        if (found := mixture(settings, "cuda", "bfloat16")) is not None:
            return str(settings.checkpoint), *found
    except PalimpsestError:
        if settings.checkpoint is not None:
            raise
    shapes = shape_26b.shapes()
    return shape_26b.NAME, shapes, fill_of(shapes, shape_26b.CONFIG, "bfloat16", shape_26b.POSITIONS)
