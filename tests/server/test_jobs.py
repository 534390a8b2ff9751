"""The latest request of a document wins, down to the sampler, and everybody is answered."""

import asyncio

import pytest

from palimpsest_engine import FillRequest, OutOfMemory, Span
from palimpsest_engine.scripted import ScriptedEngine
from palimpsest_server.jobs import CANCELLED, SUPERSEDED, Jobs

NEVER = {"steps": 1000, "step_seconds": 60.0}


def request(document: str = "a", seed: int = 0) -> FillRequest:
    return FillRequest("text", (Span(0, 0),), document=document, seed=seed)


def start(jobs, engine, asked, drafts=None, ends=None):
    return jobs.start(
        engine,
        asked,
        "inline",
        on_draft=(drafts if drafts is not None else []).append,
        on_end=(ends if ends is not None else []).append,
    )


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def test_the_latest_wins_and_the_older_ones_are_answered():
    engine, jobs = ScriptedEngine(["1", "2", "3"], **NEVER), Jobs()
    older = [start(jobs, engine, request(seed=n)) for n in range(3)]
    for running in older[:2]:
        outcome = await running.wait()
        assert outcome is not None
        assert (outcome.fill, outcome.reason) == (None, SUPERSEDED)
    await until(lambda: engine.cancelled == 2)
    assert len(jobs) == 1
    assert jobs.running("a") is older[2]
    jobs.end_all("enough")
    await until(lambda: engine.running == 0)
    assert engine.cancelled == 3
    assert len(jobs) == 0


async def test_documents_do_not_disturb_each_other():
    engine, jobs = ScriptedEngine(["x"], **NEVER), Jobs()
    first, second = start(jobs, engine, request("a")), start(jobs, engine, request("b"))
    jobs.end("b", "enough")
    assert second.outcome.done()
    assert not first.outcome.done()
    jobs.end_all("enough")
    await until(lambda: engine.running == 0)


async def test_drafts_and_the_result_arrive_on_the_loop_in_order():
    drafts, ends = [], []
    engine, jobs = ScriptedEngine(["abcd"], steps=4, step_seconds=0.001), Jobs()
    running = start(jobs, engine, request(), drafts, ends)
    outcome = await running.wait()
    assert [draft.step for draft in drafts] == [1, 2, 3, 4]
    assert outcome is not None
    assert outcome.fill is not None
    assert outcome.fill.texts == ("abcd",)
    await until(lambda: ends)
    assert ends == [outcome]


async def test_waiting_can_end_while_the_job_goes_on(engine):
    jobs = Jobs()
    running = start(jobs, engine, request())
    assert await running.wait(0) is None
    assert not engine.jobs[0].cancelled.is_set()
    engine.finish("late")
    outcome = await running.wait()
    assert outcome is not None
    assert outcome.fill is not None


async def test_a_cancelled_waiter_takes_the_job_along(engine):
    running = start(Jobs(), engine, request())
    waiter = asyncio.create_task(running.wait())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert engine.jobs[0].cancelled.is_set()
    assert running.outcome.result().reason == CANCELLED


async def test_but_not_if_somebody_else_waits(engine):
    running = start(Jobs(), engine, request())
    waiters = [asyncio.create_task(running.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    await asyncio.sleep(0)
    assert not engine.jobs[0].cancelled.is_set()
    engine.finish("x")
    outcome = await waiters[1]
    assert outcome is not None
    assert outcome.fill is not None


async def test_an_engine_error_is_the_reason():
    engine = ScriptedEngine(error=OutOfMemory("it needs 52 GiB and 16 GiB are free"))
    outcome = await start(Jobs(), engine, request()).wait()
    assert outcome is not None
    assert (outcome.fill, outcome.reason) == (None, "it needs 52 GiB and 16 GiB are free")
    assert not outcome.lasting


async def test_a_bug_in_the_engine_is_logged_once_and_is_the_reason(engine, caplog):
    running = start(Jobs(), engine, request())
    engine.jobs[0].future.set_exception(ZeroDivisionError("by zero"))
    outcome = await running.wait()
    assert outcome is not None
    assert "ZeroDivisionError: by zero" in outcome.reason
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_an_engine_that_refuses_the_request_is_the_reason(caplog):
    class Refusing(ScriptedEngine):
        def submit(self, request, on_draft=None):
            raise RuntimeError("closed")

    outcome = await start(Jobs(), Refusing(), request()).wait()
    assert outcome is not None
    assert "closed" in outcome.reason
    assert len(caplog.records) == 1


async def test_an_empty_fill_has_a_reason_that_lasts(engine):
    running = start(Jobs(), engine, request())
    engine.finish("", "the gate rejected it")
    outcome = await running.wait()
    assert outcome is not None
    assert (outcome.fill, outcome.reason, outcome.lasting) == (None, "the gate rejected it", True)


async def test_a_result_after_the_end_changes_nothing(engine):
    ends = []
    jobs = Jobs()
    running = start(jobs, engine, request(), ends=ends)
    jobs.end("a", "enough")
    engine.finish("too late")
    await until(lambda: ends)
    await asyncio.sleep(0)
    assert [outcome.reason for outcome in ends] == ["enough"]
    assert running.outcome.result().fill is None
