"""Measurements inside the engine, as ratios within one run: re-encoding after a keystroke, and diffusion over
left-to-right decoding with the same weights. For `palimpsest bench`; not a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from palimpsest_engine.canvas import pieces
from palimpsest_engine.checkpoint import load
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.fill import Filler
from palimpsest_engine.layout import lay_out
from palimpsest_engine.left_to_right import write as write_left_to_right
from palimpsest_engine.prefix import PrefixCache
from palimpsest_engine.request import Fill, FillRequest, Span


def seconds(work: Callable[[], object], runs: int) -> list[float]:
    """Wall clock of each of so many runs, after one that does not count."""
    work()
    out = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        out.append(time.perf_counter() - begun)
    return out


def reencoding(settings: EngineSettings, text: str, at: int, runs: int = 15) -> dict[str, float]:
    """Encoding the context after one typed character, over encoding it from nothing: `fraction`, medians in
    milliseconds, and the tokens of either."""
    filler = Filler(load(settings))
    typed, tokens = text[:at] + "x" + text[at:], filler.tokens
    before = lay_out(pieces(FillRequest(text, (Span(at, at),))), filler.spec, tokens, "python").context
    after = lay_out(pieces(FillRequest(typed, (Span(at + 1, at + 1),))), filler.spec, tokens, "python").context
    warm = PrefixCache(filler.model)
    cold_ms, warm_ms, again = [], [], 0
    for _ in range(runs):  # by turns, so that a slow moment of the machine hits both
        cold_ms += [1000 * s for s in seconds(lambda: PrefixCache(filler.model).encode(before), 1)]
        warm.encode(before)
        begun = time.perf_counter()
        again = warm.encode(after)
        warm_ms.append(1000 * (time.perf_counter() - begun))
    return {
        "fraction": median(warm_ms) / median(cold_ms),
        "cold_ms": median(cold_ms),
        "warm_ms": median(warm_ms),
        "cold_tokens": len(before),
        "warm_tokens": again,
    }


def left_to_right(
    settings: EngineSettings, text: str, ats: Sequence[int], sizes: Sequence[int] = (8, 16, 32)
) -> dict[str, Any]:
    """The same holes of the same sizes filled by diffusion (one candidate, no ranking) and by the causal encoder of the
    same weights: hole tokens a second of both, and diffusion over left to right, per size and in the median."""
    filler = Filler(load(settings))
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
                branch = filler.prefix_cache("measure").cache.branch(1, len(context) - 1)
                write_left_to_right(filler.model, branch, context[-1], size, filler.all_banned)

            diffusion += seconds(diffuse, 2)
            causal += seconds(write, 2)
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
