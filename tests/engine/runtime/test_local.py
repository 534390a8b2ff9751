"""The engine's thread: queueing, latest wins, cancelling, errors as answers, closing; and no torch on the caller's side."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from palimpsest_engine import CheckpointMissing, EngineSettings, FillCancelled, FillRequest, Span, open_engine

TEXT = "def f(x):\n    return \n"


def request(document="", seed=0, **more):
    return FillRequest(TEXT, (Span(21, 21),), document=document, language="python", seed=seed, **more)


@pytest.fixture(scope="module")
def engine(checkpoint_folder):
    engine = open_engine(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32"))
    yield engine
    engine.close()


def test_every_job_gets_its_own_answer_in_order(engine):
    jobs = [engine.submit(request(seed=seed)) for seed in range(4)]
    fills = [job.future.result(60) for job in jobs]
    again = [engine.submit(request(seed=seed)).future.result(60) for seed in range(4)]
    assert [fill.texts for fill in fills] == [fill.texts for fill in again]
    assert engine.status().state in ("ready", "busy")


def test_the_newest_of_a_document_wins_and_other_documents_are_left_alone(engine):
    begun, go = threading.Event(), threading.Event()

    def hold(draft):
        begun.set()
        assert go.wait(60)

    older = engine.submit(request("a", max_steps=40), hold)
    assert begun.wait(60)
    other = engine.submit(request("b"))
    newer = engine.submit(request("a"))
    go.set()
    with pytest.raises(FillCancelled):
        older.future.result(60)
    assert other.future.result(60)
    assert newer.future.result(60)


def test_cancelling_takes_effect_before_the_next_step(engine):
    steps = []

    def on_draft(draft):
        steps.append(draft.step)
        job.cancel()

    job = engine.submit(request(max_steps=40), on_draft)
    with pytest.raises(FillCancelled):
        job.future.result(60)
    assert len(steps) <= 2  # the first draft may come before `job` is bound


def test_a_failed_load_answers_every_request_with_its_error():
    engine = open_engine(EngineSettings("/no/such/folder"))
    for _ in range(2):
        with pytest.raises(CheckpointMissing, match="/no/such/folder"):
            engine.submit(request()).future.result(60)
    status = engine.status()
    assert (status.state, status.exit_code) == ("error", CheckpointMissing.exit_code)
    engine.close()


def test_a_crash_in_a_fill_is_one_answer_and_the_engine_lives(engine, monkeypatch, caplog):
    engine.submit(request()).future.result(60)
    monkeypatch.setattr("palimpsest_engine.fill.candidates.denoise", lambda *a, **k: 1 / 0)
    with pytest.raises(Exception, match="division by zero"):
        engine.submit(request()).future.result(60)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    monkeypatch.undo()
    assert engine.submit(request()).future.result(60)


def test_a_closed_engine_cancels_new_jobs(checkpoint_folder):
    engine = open_engine(EngineSettings(str(checkpoint_folder)))
    engine.close()
    with pytest.raises(FillCancelled):
        engine.submit(request()).future.result(60)


def test_opening_an_engine_imports_neither_torch_nor_an_lsp_library():
    code = (
        "import sys, palimpsest_engine as p; p.open_engine(); "
        "print([m for m in ('torch', 'transformers', 'pygls', 'lsprotocol', 'tree_sitter') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_engine_works_without_pygls():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('pygls', 'lsprotocol', 'palimpsest_server')));"
        "import palimpsest_engine.fill.filler, palimpsest_engine.runtime.local;"
        "import palimpsest_engine.syntax.gate, palimpsest_engine.checkpoint.load"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_speculative_fill_gives_way(engine):
    """A running speculative fill ends when a request comes, and a queued one goes last."""
    begun, go = threading.Event(), threading.Event()

    def hold(draft):
        begun.set()
        assert go.wait(60)

    running = engine.submit(request("a", max_steps=40, speculative=True), hold)
    assert begun.wait(60)
    order = []
    later = engine.submit(request("b", speculative=True), lambda _: order.append("speculative"))
    asked = engine.submit(request("c"), lambda _: order.append("asked"))
    go.set()
    with pytest.raises(FillCancelled):
        running.future.result(60)
    assert asked.future.result(60)
    assert later.future.result(60)
    assert order == sorted(order)


def test_closing_answers_every_job(checkpoint_folder):
    engine = open_engine(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32"))
    begun, go = threading.Event(), threading.Event()

    def hold(draft):
        begun.set()
        assert go.wait(60)

    jobs = [engine.submit(request("a", max_steps=40), hold)]
    assert begun.wait(60)
    jobs += [engine.submit(request(name, speculative=name == "c")) for name in "bcd"]
    engine.close()
    go.set()
    for job in jobs:
        with pytest.raises(FillCancelled):
            job.future.result(60)
