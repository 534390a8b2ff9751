from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import median, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_bench.server import replay
from palimpsest_server.session.debounce import Debounce

URI = "file:///a.py"

intervals = st.lists(st.floats(0.0, 5.0), max_size=40)


def typed(times: Sequence[float], lag: float = 0.0) -> Debounce:
    """Return a debounce after changes at these times, each asked about so much later."""
    pace = Debounce()
    for at in times:
        pace.changed(URI, at)
        pace.delay(URI, at + lag)
    return pace


def steady(interval: float, count: int = 20) -> list[float]:
    return [turn * interval for turn in range(count)]


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(0.02, 0.04), (0.1, 0.15), (0.2, 0.3), (0.3, 0.4), (0.9, 0.4)],
)
def test_the_wait_follows_the_rhythm_within_its_bounds(interval: float, expected: float) -> None:
    times = steady(interval)
    assert typed(times).delay(URI, times[-1]) == pytest.approx(expected)


def test_a_pause_and_a_paste_are_not_rhythm() -> None:
    times = [*steady(0.1), 30.0, 30.001, 30.002]
    assert typed(times).delay(URI, times[-1]) == pytest.approx(0.15)


def test_one_stray_interval_changes_nothing() -> None:
    times = list(accumulate([0.1] * 8 + [0.8] + [0.1] * 3))
    assert typed(times).delay(URI, times[-1]) == pytest.approx(0.15)


def test_a_request_without_typing_does_not_wait() -> None:
    pace = typed(steady(0.1))
    assert pace.delay("file:///other.py", 2.0) == 0
    assert pace.delay(URI, 60.0) == 0
    pace.forget(URI)
    assert pace.delay(URI, 1.9) == 0


@given(intervals, st.floats(0.0, 1.0))
def test_the_time_since_the_keystroke_is_taken_off(steps: list[float], passed: float) -> None:
    times = [0.0, *accumulate(steps)]
    whole = typed(times).delay(URI, times[-1])
    assert 0.04 <= whole <= 0.4
    assert typed(times).delay(URI, times[-1] + passed) == pytest.approx(max(0.0, whole - passed), abs=1e-6)


@pytest.mark.parametrize(("lag", "waits"), [(0.0, True), (0.05, True), (0.2, False), (0.3, False)])
def test_a_client_that_waits_by_itself_is_not_made_to_wait_again(lag: float, waits: bool) -> None:
    times = steady(0.35)
    assert (typed(times, lag).delay(URI, times[-1] + lag) > 0) == waits


def test_cursor_moves_do_not_look_like_a_client_that_waits() -> None:
    pace = Debounce()
    for at in steady(2.0):
        pace.changed(URI, at)
        pace.delay(URI, at)
        pace.delay(URI, at + 0.5)
        pace.delay(URI, at + 1.5)
    pace.changed(URI, 40.0)
    assert pace.delay(URI, 40.0) > 0


@given(intervals, st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_a_fixed_wait_is_that_wait(steps: list[float], fixed: float, passed: float) -> None:
    times = [0.0, *accumulate(steps)]
    wait = typed(times).delay(URI, times[-1] + passed, fixed)
    assert wait == pytest.approx(max(0.0, fixed - passed), abs=1e-6)


def test_documents_have_each_their_own_rhythm() -> None:
    pace = Debounce()
    for turn in range(20):
        pace.changed("fast", turn * 0.1)
        pace.changed("slow", turn * 0.25)
    assert pace.delay("fast", 1.9) == pytest.approx(0.15)
    assert pace.delay("slow", 4.75) == pytest.approx(0.375)


def test_the_sessions_reach_the_model_with_a_quarter_of_their_keystrokes_before_any_reuse() -> None:
    keystrokes, waits = 0, list[float]()
    for session in replay.sessions().values():
        times = [event.at for event in session if isinstance(event.what, replay.Change)]
        keystrokes += len(times)
        pace = Debounce()
        for at, then in pairwise([*times, float("inf")]):
            pace.changed(URI, at)
            wait = pace.delay(URI, at)
            if at + wait < then:
                waits.append(wait)
    assert len(waits) / keystrokes <= 0.26
    assert median(waits) <= 0.34
    assert quantiles(waits, n=20)[-1] <= 0.4
