"""The bounds of one user, by a clock of the test's own."""

from contextlib import ExitStack

import pytest

from palimpsest_team import quotas
from palimpsest_team.quotas import QuotaExceeded, Quotas


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def ask(counted: Quotas, user: str = "ann") -> None:
    with counted.admitted(user):
        pass


def test_requests_a_minute_come_back_evenly_and_the_wait_is_said():
    clock = Clock()
    counted = Quotas(per_minute=6, clock=clock)
    for _ in range(6):
        ask(counted)
    with pytest.raises(QuotaExceeded) as refused:
        ask(counted)
    assert refused.value.retry_after == pytest.approx(10)
    clock.now += refused.value.retry_after
    ask(counted)
    with pytest.raises(QuotaExceeded):
        ask(counted)


def test_requests_at_once_are_given_back_also_after_an_error():
    counted = Quotas(at_once=2, clock=Clock())
    with ExitStack() as running:
        running.enter_context(counted.admitted("ann"))
        with pytest.raises(ValueError, match="of the fill"), counted.admitted("ann"):
            raise ValueError("of the fill")
        running.enter_context(counted.admitted("ann"))
        with pytest.raises(QuotaExceeded) as refused:
            ask(counted)
        assert refused.value.retry_after > 0
    ask(counted)


def test_a_user_who_storms_costs_another_nothing():
    counted = Quotas(per_minute=3, at_once=1, clock=Clock())
    with counted.admitted("storm"):
        for _ in range(50):
            with pytest.raises(QuotaExceeded):
                ask(counted, "storm")
        for _ in range(3):
            ask(counted, "quiet")


def test_a_refused_request_is_not_counted():
    clock = Clock()
    counted = Quotas(per_minute=60, at_once=1, clock=clock)
    with counted.admitted("ann"):
        for _ in range(1_000):
            with pytest.raises(QuotaExceeded):
                ask(counted)
    ask(counted)


def test_users_who_have_not_asked_for_a_while_are_forgotten(monkeypatch):
    monkeypatch.setattr(quotas, "_MANY_USERS", 10)
    clock = Clock()
    counted = Quotas(clock=clock)
    for number in range(10):
        ask(counted, f"user{number}")
    clock.now += 60
    with counted.admitted("user3"):
        clock.now += 60
        for number in range(10, 15):
            ask(counted, f"user{number}")
        assert set(counted._users) == {"user3", *(f"user{number}" for number in range(10, 15))}


def test_a_clock_that_jumps_ahead_fills_the_bucket_and_no_more():
    clock = Clock()
    counted = Quotas(per_minute=2, clock=clock)
    ask(counted)
    clock.now += 1e9
    ask(counted)
    ask(counted)
    with pytest.raises(QuotaExceeded):
        ask(counted)
