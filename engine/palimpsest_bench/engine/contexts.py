"""Measures a context by its length: encoding from nothing and after one character, a step that reads it, memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from palimpsest_bench.engine.steps import Ours
from palimpsest_bench.engine.subject import Subject
from palimpsest_bench.engine.timing import slopes
from palimpsest_bench.failures import sentence
from palimpsest_engine.cuda.timing import wait
from palimpsest_engine.model.prefix_cache import PrefixCache

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
_MANY_RUNS_UP_TO = 8192


def contexts(
    subject: Subject, lengths: Sequence[int] = LENGTHS, runs: int = 3, until: float = float("inf")
) -> dict[str, Any]:
    """Measure contexts of random tokens, in milliseconds.

    `cold_ms`: encoding all of it. `warm_ms`: encoding it again with another last token, as after a keystroke. `step_ms`:
    a step of a whole canvas over it. `cache_mib`: the size of its keys and values. Long contexts are encoded only once.
    Lengths that would take longer than `until` are left out, with a reason.
    """
    points, left_out, cost = list[dict[str, float]](), dict[str, str](), 0.0
    for length in sorted(lengths):
        # There are twice the tokens, and each attends to twice as many.
        if points and time.monotonic() + 4 * cost > until:
            left_out[str(length)] = "it would have taken longer than the remaining time"
            continue
        begun = time.monotonic()
        try:
            points.append(point(subject, length, runs if length <= _MANY_RUNS_UP_TO else 1))
        except Exception as error:
            left_out[str(length)] = sentence(error)
            break
        cost = time.monotonic() - begun
    return {"contexts": points, "contexts_left_out": left_out}


def point(subject: Subject, length: int, runs: int) -> dict[str, float]:
    """Measure one length."""
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
