"""Measure a checkpoint on held-out files: both losses on fixed rows, and lines filled as a user would have
them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.request import Fill, FillRequest, Span
from palimpsest_tune.code import Source

LONGEST_LINE = 40  # characters: of longer ones a small checkpoint gets too few right to count


@dataclass(frozen=True, slots=True)
class Measured:
    """causal, diffusion: nats a token over the held-out rows, and by batch of rows. exact: lines filled exactly as they
    stood, of so many `lines`."""

    causal: float
    diffusion: float
    causal_by_batch: tuple[float, ...]
    diffusion_by_batch: tuple[float, ...]
    exact: int
    lines: int

    def said(self) -> dict[str, Any]:
        """Return the figures for the adapter's note, without the batches."""
        figures = asdict(self)
        return {key: round(value, 4) for key, value in figures.items() if not key.endswith("by_batch")}


def held_out_losses(losses: Callable[..., Any], batches: Sequence[Any]) -> list[tuple[float, float]]:
    """Return (causal, diffusion) of each batch, without self-conditioning. The noise is in the batches: the same every
    time."""
    with torch.inference_mode():
        return [(float(causal), float(diffusion)) for causal, diffusion in (losses(batch, None) for batch in batches)]


def lines_of(sources: Sequence[Source], count: int, seed: int) -> list[tuple[Source, Span]]:
    """Return seeded whole lines without their indentation: not blank, no comments, neither brackets alone nor long."""
    found = []
    for source in sources:
        at = 0
        for line in source.text.splitlines(keepends=True):
            body = line.strip()
            if sum(map(str.isalnum, body)) >= 3 and len(body) <= LONGEST_LINE and not body.startswith(("#", "//", "*")):
                start = at + len(line) - len(line.lstrip())
                found.append((source, Span(start, start + len(body))))
            at += len(line)
    found.sort(key=lambda case: (case[0].text, case[1].start))
    return random.Random(seed).sample(found, min(count, len(found)))


def exact_lines(checkpoint: Checkpoint, cases: Sequence[tuple[Source, Span]], seed: int) -> int:
    """Count the lines that the checkpoint writes as they stood, white space at the ends aside, without being told how long
    they are."""
    filler, exact = Filler(checkpoint), 0
    for source, span in cases:
        rest = source.text[: span.start] + source.text[span.end :]
        at = (Span(span.start, span.start),)
        *_, fill = filler.fill(FillRequest(rest, at, language=source.language, seed=seed, max_lines=1))
        assert isinstance(fill, Fill)
        exact += fill.texts[0].strip() == source.text[span.start : span.end].strip()
    return exact


def gain(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Return (mean, standard error) of what the loss fell by, the same batches compared."""
    fell = np.array(before) - np.array(after)
    return float(fell.mean()), float(fell.std(ddof=1) / np.sqrt(len(fell))) if len(fell) > 1 else 0.0
