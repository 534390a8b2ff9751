"""The statistics of the tables, exact where that is cheap. Knows numbers only."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from fractions import Fraction

Z95 = 1.959963984540054


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of a rate (1927), by default at 95 %; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    rate, square = successes / trials, z * z
    middle = (rate + square / (2 * trials)) / (1 + square / trials)
    half = z / (1 + square / trials) * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test: pairs that differ do so either way with equal probability."""
    trials, term, tail = only_first + only_second, 1, 1
    for k in range(1, min(only_first, only_second) + 1):
        term = term * (trials - k + 1) // k  # the binomial coefficient, exactly
        tail += term
    return min(1.0, float(Fraction(2 * tail, 2**trials)))


def bootstrap(differences: Sequence[float], seed: int = 0, resamples: int = 2000) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of paired differences, resampled with a seed."""
    rng, count = random.Random(seed), len(differences)
    if count == 0:
        return 0.0, 0.0
    means = sorted(math.fsum(rng.choices(differences, k=count)) / count for _ in range(resamples))
    return means[int(0.025 * resamples)], means[int(0.975 * resamples)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile, interpolated linearly between the two nearest values; 0 without values."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    at = (len(ordered) - 1) * percent / 100
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
