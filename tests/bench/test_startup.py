"""The start of the server against a bare one: both answer, and a silent server is reported."""

import sys

import pytest

from palimpsest_bench.server import startup


def test_both_servers_answer_and_the_ratio_is_that_of_their_times():
    found = startup.start_ratio(runs=1)
    assert found["ratio"] == found["initialize_ms"] / found["pygls_ms"] > 0


def test_a_silent_server_is_an_error(monkeypatch):
    monkeypatch.setattr(startup, "_BARE", (sys.executable, "-c", ""))
    with pytest.raises(RuntimeError, match="did not answer"):
        startup.start_ratio(runs=1)
