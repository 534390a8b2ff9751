"""Figures of windows that share an engine process. The windows of the benchmark are real servers; here they are fewer."""

from __future__ import annotations

import importlib.resources
import os

from palimpsest_bench import tables, windows
from palimpsest_engine import EngineSettings

DOCUMENT = importlib.resources.files("palimpsest_bench").joinpath("document.txt").read_text("utf-8")


def test_requests_over_the_socket_are_timed_and_leave_no_process_behind() -> None:
    before = dict(os.environ)
    found = windows.socket("x = 1\n" * 100, 20)["socket"]
    assert found["characters"] == 600
    assert found["shared_ms"]["samples"] == 20
    assert found["shared_ms"]["p50"] > found["direct_ms"]["p50"]
    assert dict(os.environ) == before


def test_a_quiet_window_has_its_turn_beside_windows_that_storm(monkeypatch) -> None:
    monkeypatch.setattr(windows, "STORMING", 3)
    found = windows.turns(DOCUMENT, 3)
    assert found["storming"] == 3
    assert found["beside_ms"]["samples"] == 3
    assert found["fills_before_eager"] >= 1


def test_windows_are_opened_and_their_process_killed_without_a_lost_answer(monkeypatch) -> None:
    monkeypatch.setattr(windows, "_WINDOWS", 2)
    monkeypatch.setattr(windows, "_KILLED_UNDER", 2)
    found = windows.windows(EngineSettings("embedded"), {"model": "embedded"})["windows"]
    assert (found["killed"]["lost"], found["killed"]["wrong"]) == (0, 0)
    shared, own = found["shared"]["memory_mb"], found["own"]["memory_mb"]
    assert shared[1] - shared[0] < (own[1] - own[0]) / 2
    assert len(tables.windows({"windows": found}).rows) == 2
