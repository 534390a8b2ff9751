"""The benchmark of fairness: it counts what the engine does, and leaves nobody waiting."""

from __future__ import annotations

import pytest

from palimpsest_bench import fairness, tables
from palimpsest_engine import FillCancelled, PalimpsestError
from palimpsest_engine.runtime.scripted import ScriptedEngine

from .conftest import DOCUMENT


def test_a_quiet_client_is_measured_beside_those_that_storm(monkeypatch):
    monkeypatch.setattr(fairness, "STORMING", 5)
    engine = fairness.fixed_time(0.05)  # so long that an eager client does not miss four of them when it is late
    (row,) = fairness.fairness({"fixed": engine}, DOCUMENT, samples=2)
    assert (row["engine"], row["storming"]) == ("fixed", 5)
    assert (row["alone_ms"]["samples"], row["beside_ms"]["samples"]) == (4, 2)
    assert row["fills_before"] <= 2  # the one that ran, and one that ended just before the question
    assert row["fills_before_eager"] >= 4  # it has to wait for its turn
    assert engine.status().state == "closed"
    assert len(tables.fairness({"fairness": [row]}).rows) == 1
    assert not tables.fairness({}).rows


def test_each_client_may_have_an_engine_of_its_own():
    engines = [ScriptedEngine(steps=1, step_seconds=0.001) for _ in range(3)]
    row = fairness.beside_a_storm(engines[0], engines[1:], DOCUMENT, samples=2)
    assert row["storming"] == 2
    assert all(engine.started > 2 for engine in engines)
    assert [engine.running for engine in engines] == [0, 0, 0]


def test_a_storm_ends_with_its_last_answers():
    engine = fairness.fixed_time(60.0)
    storm = fairness.Storm([engine] * 2, DOCUMENT, waiting=3)
    with storm.blowing():
        pass
    engine.close()
    assert storm.answered >= 6
    for job in storm._jobs.values():
        with pytest.raises(FillCancelled):
            job.future.result(0)


def test_an_engine_that_answers_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(fairness, "_LONGEST", 0.01)
    engine = fairness.fixed_time(60.0)
    storm = fairness.Storm([engine], DOCUMENT)
    with pytest.raises(PalimpsestError, match="did not answer 3 fills"):
        storm.wait_for(3)
    engine.close()
