"""Measures fills: re-encoding after a keystroke, diffusion against left to right, a hole of 64 tokens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from palimpsest_bench.engine.subject import NEVER, Subject
from palimpsest_engine.cuda.timing import seconds, wait
from palimpsest_engine.decoding.autoregressive import write as write_left_to_right
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.layout import lay_out
from palimpsest_engine.prompt.pieces import pieces
from palimpsest_engine.request import Fill, FillRequest, Span

HOLE_SIZES = (16, 32, 48, 64)
HOLE_STEPS = 10
HOLE_CONTEXT = 2048
_PINS = 32


def reencoding(subject: Subject, text: str, at: int, runs: int = 15) -> dict[str, float]:
    """Compare encoding after one typed character with encoding from nothing.

    Returns `fraction`, both medians in milliseconds, and both numbers of tokens.
    """
    filler, device = subject.filler, subject.device
    typed, tokens = text[:at] + "x" + text[at:], filler.tokens
    before = lay_out(pieces(FillRequest(text, (Span(at, at),))), filler.spec, tokens, "python").context
    after = lay_out(pieces(FillRequest(typed, (Span(at + 1, at + 1),))), filler.spec, tokens, "python").context
    warm = PrefixCache(filler.model)
    cold_ms, warm_ms, again = [], [], 0
    for _ in range(runs):  # in turns, so that a slow moment of the machine hits both
        cold_ms += [1000 * s for s in seconds(lambda: PrefixCache(filler.model).encode(before), 1, device)]
        warm.encode(before)
        wait(device)
        begun = time.perf_counter()
        again = warm.encode(after)
        wait(device)
        warm_ms.append(1000 * (time.perf_counter() - begun))
    return {
        "fraction": median(warm_ms) / median(cold_ms),
        "cold_ms": median(cold_ms),
        "warm_ms": median(warm_ms),
        "cold_tokens": len(before),
        "warm_tokens": again,
    }


def left_to_right(
    subject: Subject, text: str, ats: Sequence[int], sizes: Sequence[int] = (8, 16, 32)
) -> dict[str, Any]:
    """Fill the same holes by diffusion (one candidate, no ranking) and by the causal encoder of the same weights.

    Returns hole tokens a second of both, and the ratio of diffusion over left to right, by size and as the median.
    """
    filler, device = subject.filler, subject.device
    rows = []
    for size in sizes:
        diffusion, causal = [], []
        for at in ats:
            request = FillRequest(text, (Span(at, at),), document="measure", sizes=(size,))
            context = lay_out(pieces(request), filler.spec, filler.tokens, None).context
            list(filler.fill(request))  # encodes the context: both sides begin warm

            def diffuse(request: FillRequest = request) -> None:
                *_, fill = filler.fill(request)
                assert isinstance(fill, Fill)

            def write(context: tuple[int, ...] = context, size: int = size) -> None:
                row = filler.prefix_cache("measure").cache.branch(1, len(context) - 1)
                write_left_to_right(filler.model, row, context[-1], size, filler.resources.all_banned)

            diffusion += seconds(diffuse, 2, device)
            causal += seconds(write, 2, device)
        ratio = median(causal) / median(diffusion)
        rows.append(
            {
                "hole_tokens": size,
                "diffusion_tokens_per_second": size / median(diffusion),
                "left_to_right_tokens_per_second": size / median(causal),
                "ratio": ratio,
            }
        )
    return {"ratio": median(row["ratio"] for row in rows), "sizes": rows}


def hole(subject: Subject, text: str, runs: int = 5) -> dict[str, Any]:
    """Time the fill of one hole from text to text, after one more typed character (`fill_64_ms`).

    Four candidate sizes up to 64 tokens run as one batch for exactly ten denoising steps, over a context of 2,048 tokens.
    The candidates are ranked; there is no second attempt and no syntax gate. `fill_64` has the details.
    """
    spec = replace(
        subject.checkpoint.spec,
        canvas=HOLE_SIZES[-1] + _PINS,
        pins=_PINS,
        context=HOLE_CONTEXT,
        suffix=HOLE_CONTEXT // 4,
        causal_candidates=0,
        blank_line_candidates=None,
        steps_by_size=(),
        prune=(),
        tries=1,
        sampling=replace(subject.checkpoint.spec.sampling, max_steps=HOLE_STEPS, confidence=NEVER),
    )
    filler = Filler(replace(subject.checkpoint, spec=spec), redraw=False)
    before, behind = text * (20_000 // len(text) + 1), text * (5000 // len(text) + 1)
    took, fill, encoded = list[float](), Fill((), None), list[int]()  # type: ignore[arg-type]
    for turn in range(runs + 1):
        before += "x"
        request = FillRequest(
            before + "\n" + behind, (Span(len(before), len(before)),), document="hole", sizes=HOLE_SIZES, seed=turn
        )
        wait(subject.device)
        begun = time.perf_counter()
        *_, fill = filler.fill(request)  # type: ignore[assignment]
        wait(subject.device)
        if turn:  # the first one encodes the context from nothing
            took.append(1000 * (time.perf_counter() - begun))
            encoded.append(fill.encoded)
    out: dict[str, Any] = {
        "fill_64_ms": median(took),
        "fill_64": {
            "sizes": list(HOLE_SIZES),
            "steps": fill.nfe,
            "context": fill.context,
            "encoded": max(encoded),
            "max_ms": max(took),
            "samples": len(took),
        },
    }
    if (peak := subject.peak_gib()) is not None:
        out["memory_gib"] = peak
    return out
