"""Make the requests of fills that show all that they do."""

from __future__ import annotations

from dataclasses import replace

from palimpsest_engine import FillRequest, Span, StartPiece

CHOICES = 5  # that a slot shows


def request_of(
    text: str,
    hole: Span,
    *,
    name: str,
    language: str | None,
    seed: int,
    strength: float,
    steps: int | None,
    temperature: float | None,
    document: str = "",
    sizes: tuple[int, ...] | None = None,
    start: tuple[StartPiece, ...] = (),
) -> FillRequest:
    """Return the request. name: of the file. document: its identity for the engine; of one document the newest fill wins."""
    return FillRequest(
        text,
        (hole,),
        document=document,
        language=language or None,
        path=name or None,
        seed=seed,
        strength=strength,
        sizes=sizes,
        max_steps=steps,
        tidy=strength == 1.0 and not start,
        any_language=True,  # whoever watches sees the result
        temperature=temperature,
        start=start,
        trace=CHOICES,
    )


def left_to_right(request: FillRequest) -> FillRequest:
    """Return the request for the fill that the same weights write left to right."""
    return replace(request, left_to_right=True, start=(), strength=1.0, sizes=None, max_steps=None)
