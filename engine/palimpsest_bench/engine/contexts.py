"""What a context costs by its length: encoded from nothing and after one character, a step that reads it, its memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from palimpsest_bench.engine.steps import Ours
from palimpsest_bench.engine.subject import Subject
from palimpsest_bench.engine.timing import slopes
from palimpsest_engine.cuda.timing import wait
from palimpsest_engine.model.prefix_cache import PrefixCache

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
_MANY_RUNS_UP_TO = 8192


def contexts(
    subject: Subject, lengths: Sequence[int] = LENGTHS, runs: int = 3, until: float = float("inf")
) -> dict[str, Any]:
    """For each length, in milliseconds: `cold_ms`, encoding all of it; `warm_ms`, encoding it again when the last token is
    another one, as after a keystroke; `step_ms`, a step of a whole canvas over it. `cache_mib`: its keys and values.

    Random tokens. Long ones are encoded once only. Before a length that would take beyond `until` it stops; what is left out
    has a reason.
    """
    points, left_out, cost = list[dict[str, float]](), dict[str, str](), 0.0
    for length in sorted(lengths):
        # Twice the tokens, and each looks at twice as many.
        if points and time.monotonic() + 4 * cost > until:
            left_out[str(length)] = "it would have taken longer than the time that was left"
            continue
        begun = time.monotonic()
        try:
            points.append(point(subject, length, runs if length <= _MANY_RUNS_UP_TO else 1))
        except Exception as error:
            left_out[str(length)] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            break
        cost = time.monotonic() - begun
    return {"contexts": points, "contexts_left_out": left_out}


def point(subject: Subject, length: int, runs: int) -> dict[str, float]:
    """The figures of one length."""
    ids, cold, warm, prefix = subject.random_ids(length), list[float](), list[float](), PrefixCache(subject.model)

    def timed(tokens: Sequence[int]) -> float:
        wait(subject.device)
        begun = time.perf_counter()
        prefix.encode(tokens)
        wait(subject.device)
        return 1000 * (time.perf_counter() - begun)

    for run in range(runs):
        prefix = PrefixCache(subject.model)
        cold.append(timed(ids))
        for turn in range(5):
            typed = [*ids[:-1], (ids[-1] + 5 * run + turn + 1) % subject.text.vocab_size]
            warm.append(timed(typed))
    ours = Ours(subject, prefix, 1, subject.whole)
    step = slopes({"step_ms": ours.run}, subject.device, runs)
    return {
        "tokens": length,
        "cold_ms": median(cold),
        "warm_ms": median(warm),
        **step,
        "cache_mib": prefix.cache.nbytes / 2**20,
        "runs": runs,
    }
