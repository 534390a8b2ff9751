"""Against published values, and scipy where it is installed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_eval.statistics import bootstrap, mcnemar, percentile, wilson

# Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
PUBLISHED = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("successes", "trials", "low", "high"), PUBLISHED)
def test_wilson_equals_published_values(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 2000), st.integers(1, 2000))
def test_wilson_is_symmetric_and_holds_the_rate(successes: int, trials: int) -> None:
    successes = min(successes, trials)
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1
    mirrored = wilson(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_wilson_without_trials() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (0, 10, 2 / 1024), (5, 15, 0.041389), (6, 16, 0.052479), (3, 3, 1.0), (4000, 4000, 1.0)],
)
def test_mcnemar_exact(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p, rel=1e-4)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_statistics_equal_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for successes, trials in ((0, 7), (3, 11), (500, 1033), (1033, 1033)):
        theirs = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson(successes, trials) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    for first, second in ((1, 9), (20, 40), (300, 290)):
        assert mcnemar(first, second) == pytest.approx(stats.binomtest(first, first + second).pvalue)


def test_bootstrap_covers_and_repeats_itself() -> None:
    rng = random.Random(5)
    values = [rng.gauss(1.0, 2.0) for _ in range(400)]
    low, high = bootstrap(values)
    assert (low, high) == bootstrap(values)
    mean, error = sum(values) / 400, 2.0 / 20
    assert low == pytest.approx(mean - 1.96 * error, abs=0.06)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.06)
    assert bootstrap([]) == (0.0, 0.0)
    assert bootstrap([3.0] * 5) == (3.0, 3.0)


def test_percentiles() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert [percentile(values, at) for at in (0, 50, 100)] == [1.0, 2.5, 4.0]
    assert (percentile([], 50), percentile([7.0], 95)) == (0.0, 7.0)
