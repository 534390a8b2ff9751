"""The start of the server beside a bare one: both answer, and what does not answer is told."""

import sys

import pytest

from palimpsest_bench.server import startup


def test_both_answer_and_the_ratio_is_theirs():
    found = startup.start_ratio(runs=1)
    assert found["ratio"] == found["initialize_ms"] / found["pygls_ms"] > 0


def test_a_server_that_says_nothing_is_no_measurement(monkeypatch):
    monkeypatch.setattr(startup, "_BARE", (sys.executable, "-c", ""))
    with pytest.raises(RuntimeError, match="did not answer"):
        startup.start_ratio(runs=1)
