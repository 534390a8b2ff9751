"""Two engines behind one: requests go to the engine of their role, and what is told is of both."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from palimpsest_engine import (
    CheckpointMissing,
    Endpoint,
    EngineSettings,
    EngineStatus,
    FillCancelled,
    FillRequest,
    Span,
    open_engine,
)
from palimpsest_engine.runtime.local import LocalEngine
from palimpsest_engine.runtime.remote import RemoteEngine
from palimpsest_engine.runtime.roles import TwoEngines
from palimpsest_engine.runtime.scripted import ScriptedEngine

SLOW = {"steps": 2000, "step_seconds": 0.01}


class Told(ScriptedEngine):
    """Says what the test says of itself, and counts how often it was warmed and closed."""

    def __init__(self, *script, status=None, **more):
        super().__init__(script or ("pass",), **more)
        self.told = status or EngineStatus("ready", model="scripted")
        self.warmed = self.closed = 0

    def status(self):
        return self.told

    def warm(self):
        self.warmed += 1

    def close(self):
        self.closed += 1
        super().close()


def request(document="", *, edit=False):
    return FillRequest("a = ", (Span(4, 4),), document=document, edit=edit)


@pytest.fixture
def pair():
    engines = []

    def make(complete, edit):
        engines.append(TwoEngines(complete, edit))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("edit", [False, True])
def test_a_request_goes_to_the_engine_of_its_role(pair, edit):
    complete, edits = Told("typed"), Told("edited")
    drafts = []
    job = pair(complete, edits).submit(request("a", edit=edit), drafts.append)
    assert job.future.result(5).texts == ("edited" if edit else "typed",)
    assert (complete.started, edits.started) == (int(not edit), int(edit))


def test_drafts_come_from_the_engine_at_work(pair):
    drafts = []
    engine = pair(Told("typed"), Told("edited", steps=2))
    engine.submit(request(edit=True), drafts.append).future.result(5)
    assert [draft.step for draft in drafts] == [1, 2]


@pytest.mark.parametrize("first", [False, True])
def test_the_newest_of_a_document_wins_with_either_engine(pair, first):
    slow = Told("slow", **SLOW)
    engine = pair(Told("typed"), slow) if first else pair(slow, Told("edited"))
    older, other = engine.submit(request("a", edit=first)), engine.submit(request("b", edit=first))
    newer = engine.submit(request("a", edit=not first))
    assert newer.future.result(5).texts == ("typed" if first else "edited",)
    with pytest.raises(FillCancelled):
        older.future.result(5)
    assert not other.future.done()


def test_requests_without_a_document_end_nothing(pair):
    engine = pair(Told("typed", steps=3, step_seconds=0.02), Told("edited"))
    older = engine.submit(request())
    engine.submit(request(edit=True)).future.result(5)
    assert older.future.result(5).texts == ("typed",)


def test_a_job_is_forgotten_when_it_is_done(pair):
    engine = pair(Told("typed", steps=2, step_seconds=0.01), Told("edited"))
    for edit in (False, True):
        done = engine.submit(request("a", edit=edit))
        done.future.result(5)
        until = time.monotonic() + 60
        while engine._latest:  # the thread that has answered forgets it afterwards
            assert time.monotonic() < until
            threading.Event().wait(0.005)
        assert not done.cancelled.is_set()


@pytest.mark.parametrize("edit", [False, True])
def test_cancelling_reaches_the_engine_at_work(pair, edit):
    engine = pair(Told("typed", **SLOW), Told("edited", **SLOW))
    job = engine.submit(request("a", edit=edit))
    job.cancel()
    with pytest.raises(FillCancelled):
        job.future.result(5)


def test_an_error_of_one_engine_is_the_answer_of_its_requests_alone(pair):
    engine = pair(Told("typed"), Told(error=CheckpointMissing("There is no model x.")))
    with pytest.raises(CheckpointMissing):
        engine.submit(request("a", edit=True)).future.result(5)
    assert engine.submit(request("a")).future.result(5).texts == ("typed",)


READY = EngineStatus("ready", model="coder", device="cpu", languages=("python",), sources=("edits",), denoises=False)
EDITS = EngineStatus("ready", model="diffusion", device="cuda")


@pytest.mark.parametrize(
    ("complete", "edits", "told"),
    [
        (READY, EDITS, ("ready", "", "coder, edits: diffusion", True)),
        (READY, EngineStatus("starting", "No fill."), ("ready", "", "coder", True)),
        (READY, replace(EDITS, state="busy", reason="Denoising."), ("busy", "Denoising.", "coder, edits: diffusion", True)),
        (READY, EngineStatus("loading", "Loading."), ("busy", "Loading.", "coder", True)),
        (READY, EngineStatus("error", "No such model.", exit_code=20), ("ready", "Edits: No such model.", "coder", True)),
        (READY, replace(EDITS, denoises=False), ("ready", "", "coder, edits: diffusion", False)),
        (replace(READY, state="busy", reason="Writing."), replace(EDITS, state="busy", reason="Denoising."),
         ("busy", "Writing.", "coder, edits: diffusion", True)),
        (EngineStatus("loading", "Loading."), EDITS, ("loading", "Loading.", "edits: diffusion", True)),
        (EngineStatus("error", "Broken.", exit_code=21), replace(EDITS, state="busy"),
         ("error", "Broken.", "edits: diffusion", True)),
    ],
)  # fmt: skip
def test_the_status_is_that_of_the_model_that_completes_and_tells_of_the_other(pair, complete, edits, told):
    status = pair(Told(status=complete), Told(status=edits)).status()
    assert (status.state, status.reason, status.model, status.denoises) == told
    assert (status.device, status.languages, status.sources, status.exit_code) == (
        complete.device,
        complete.languages,
        complete.sources,
        complete.exit_code,
    )


def test_only_the_model_that_completes_is_loaded_ahead(pair):
    complete, edits = Told(), Told()
    pair(complete, edits).warm()
    assert (complete.warmed, edits.warmed) == (1, 0)


def test_closing_closes_both_and_ends_what_is_under_way(pair):
    complete, edits = Told(**SLOW), Told(**SLOW)
    engine = pair(complete, edits)
    jobs = [engine.submit(request("a")), engine.submit(request("b", edit=True))]
    engine.close()
    assert (complete.closed, edits.closed) == (1, 1)
    for job in jobs:
        with pytest.raises(FillCancelled):
            job.future.result(5)


# Opening

HERE = Endpoint("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "settings",
    [EngineSettings(), EngineSettings("a"), EngineSettings("a", edit="a"), EngineSettings("embedded", edit="embedded")],
    ids=str,
)
def test_one_engine_is_opened_for_one_model(settings):
    engine = open_engine(settings)
    assert type(engine) is LocalEngine
    engine.close()


@pytest.mark.parametrize("settings", [EngineSettings(edit="b"), EngineSettings("a", edit="b")], ids=str)
def test_two_engines_are_opened_for_two_models(settings):
    engine = open_engine(settings)
    assert isinstance(engine, TwoEngines)
    assert (type(engine.complete), type(engine.edit)) == (LocalEngine, LocalEngine)
    engine.close()


@pytest.mark.parametrize("edit", ["b", "embedded"])
def test_a_model_here_answers_the_edits_beside_an_endpoint(edit):
    engine = open_engine(EngineSettings("b", endpoint=HERE, edit=edit))
    assert isinstance(engine, TwoEngines)
    assert (type(engine.complete), type(engine.edit)) == (RemoteEngine, LocalEngine)
    engine.close()


def test_the_adapter_is_for_the_model_that_completes(monkeypatch):
    opened = []
    monkeypatch.setattr(
        "palimpsest_engine.runtime.local.LocalEngine", lambda settings: opened.append(settings) or Told()
    )
    open_engine(EngineSettings("a", device="cpu", adapter="mine", fallback=True, edit="b")).close()
    assert opened == [
        EngineSettings("a", device="cpu", adapter="mine", fallback=True),
        EngineSettings("b", device="cpu", fallback=True),
    ]


def test_the_languages_of_both_models_are_told(pair):
    both = pair(
        Told(status=EngineStatus("ready", languages=("python",))),
        Told(status=EngineStatus("ready", languages=("go", "rust"))),
    )
    assert (both.status().languages, both.status().edit_languages) == (("python",), ("go", "rust"))
    assert Told().status().edit_languages is None
