"""The latest request of a document wins, down to the sampler, and every request is answered."""

import asyncio

import pytest

from palimpsest_engine import FillRequest, OutOfMemory, Span
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.session import jobs as jobs_module
from palimpsest_server.session.jobs import CANCELLED, SUPERSEDED, Jobs, Refused

NEVER = {"steps": 1000, "step_seconds": 60.0}


def request(document: str = "a", seed: int = 0) -> FillRequest:
    return FillRequest("text", (Span(0, 0),), document=document, seed=seed)


def start(jobs, engine, asked, drafts=None, ends=None, prepare=None, purpose="inline", deadline=30.0):
    async def at_once():
        return asked

    return jobs.start(
        engine,
        asked.document,
        asked,
        purpose,
        prepare or at_once,
        on_draft=(drafts if drafts is not None else []).append,
        on_end=(ends if ends is not None else []).append,
        deadline=deadline,
    )


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def test_the_latest_wins_and_the_older_ones_are_answered():
    engine, jobs = ScriptedEngine(["1", "2", "3"], **NEVER), Jobs()
    older = []
    for n in range(3):
        older.append(start(jobs, engine, request(seed=n)))
        await until(lambda: older[-1].job)
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
    await until(lambda: first.job and second.job)
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
    await until(lambda: running.job)
    assert not engine.jobs[0].cancelled.is_set()
    engine.finish("late")
    outcome = await running.wait()
    assert outcome is not None
    assert outcome.fill is not None


async def test_a_cancelled_waiter_takes_the_job_along(engine):
    running = start(Jobs(), engine, request())
    waiter = asyncio.create_task(running.wait())
    await until(lambda: running.job)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert engine.jobs[0].cancelled.is_set()
    assert running.outcome.result().reason == CANCELLED


async def test_a_cancelled_waiter_leaves_the_job_to_another_waiter(engine):
    running = start(Jobs(), engine, request())
    waiters = [asyncio.create_task(running.wait()) for _ in range(2)]
    await until(lambda: running.job)
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
    await until(lambda: running.job)
    engine.jobs[0].future.set_exception(ZeroDivisionError("by zero"))
    outcome = await running.wait()
    assert outcome is not None
    assert outcome.reason == "the engine failed: ZeroDivisionError"
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_an_engine_that_refuses_the_request_is_the_reason(caplog):
    class Refusing(ScriptedEngine):
        def submit(self, request, on_draft=None):
            raise RuntimeError("closed")

    outcome = await start(Jobs(), Refusing(), request()).wait()
    assert outcome is not None
    assert outcome.reason == "the engine failed: RuntimeError"
    assert len(caplog.records) == 1


async def test_an_empty_fill_has_a_reason_that_lasts(engine):
    running = start(Jobs(), engine, request())
    await until(lambda: running.job)
    engine.finish("", "the gate rejected it")
    outcome = await running.wait()
    assert outcome is not None
    assert (outcome.fill, outcome.reason, outcome.lasting) == (None, "the gate rejected it", True)


async def test_a_result_after_the_end_changes_nothing(engine):
    ends = []
    jobs = Jobs()
    running = start(jobs, engine, request(), ends=ends)
    await until(lambda: running.job)
    jobs.end("a", "enough")
    engine.finish("too late")
    await until(lambda: ends)
    await asyncio.sleep(0)
    assert [outcome.reason for outcome in ends] == ["enough"]
    assert running.outcome.result().fill is None


async def test_a_job_that_ends_in_its_preparation_never_reaches_the_engine(engine):
    jobs, begun = Jobs(), []

    async def typing_goes_on():
        begun.append(True)
        await asyncio.sleep(60)

    first = start(jobs, engine, request(), prepare=typing_goes_on)
    await until(lambda: begun)
    second = start(jobs, engine, request())
    await until(lambda: second.job)
    assert first.outcome.result().reason == SUPERSEDED
    assert len(engine.jobs) == jobs.submitted == 1
    assert jobs.superseded == 0


async def test_a_preparation_may_refuse(engine):
    async def refuse():
        raise Refused("the cursor is in a comment")

    outcome = await start(Jobs(), engine, request(), prepare=refuse).wait()
    assert (outcome.fill, outcome.reason, outcome.lasting) == (None, "the cursor is in a comment", True)
    assert engine.jobs == []


async def test_a_preparation_that_fails_is_logged_and_is_the_reason(engine, caplog):
    async def fail():
        raise OSError("no such disk")

    outcome = await start(Jobs(), engine, request(), prepare=fail).wait()
    assert outcome.reason == "the engine failed: OSError"
    assert len(caplog.records) == 1


async def test_a_silent_engine_is_given_up_and_taken_back_at_its_first_sign_of_life(engine):
    jobs = Jobs()
    outcome = await start(jobs, engine, request(), deadline=0.01).wait()
    assert outcome.reason == "the engine has shown no sign of life for 0.01 s"
    assert jobs.hung
    assert engine.jobs[0].cancelled.is_set()
    engine.finish("late")
    await until(lambda: not jobs.hung)


async def test_a_process_that_stood_still_does_not_blame_the_engine(engine, monkeypatch):
    now = 0.0
    monkeypatch.setattr(jobs_module, "monotonic", lambda: now)
    monkeypatch.setattr(jobs_module, "_LOOK_SECONDS", 0.01)
    jobs = Jobs()
    running = start(jobs, engine, request(), deadline=0.5)
    await until(lambda: engine.jobs)
    for _ in range(3):
        now += 1000.0
        assert await running.wait(0.05) is None
        assert not jobs.hung
    now += 0.6
    outcome = await running.wait()
    assert outcome.reason == "the engine has shown no sign of life for 0.5 s"


async def test_loading_may_take_as_long_as_it_takes(engine):
    jobs = Jobs()
    engine.state = "loading"
    running = start(jobs, engine, request(), deadline=0.01)
    assert await running.wait(0.1) is None
    engine.state = "busy"
    assert (await running.wait()).fill is None
    assert jobs.hung


async def test_drafts_are_signs_of_life_and_come_to_rest(engine):
    jobs = Jobs()
    running = start(jobs, engine, request())
    await until(lambda: running.job)
    seen = []
    for text, share in (("a", 0.5), ("ab", 1.0), ("ab", 1.0), ("abc", 1.0)):
        engine.draft(text, share=share)
        await until(lambda text=text: running.draft and running.draft.texts == (text,))
        await asyncio.sleep(0)
        seen.append(running.stable)
    assert seen == [False, False, True, False]
