"""The backend over an engine: drafts, the fill, and the end of whoever does not wait for it."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing

import pytest

from api.conftest import Recording, Unhurried
from palimpsest_api.backend import EngineBackend
from palimpsest_engine import CheckpointMissing, Draft, Fill, FillRequest, Span

ASKED = FillRequest("ab", (Span(1, 1),))


async def test_drafts_come_before_the_fill_which_comes_once_and_last() -> None:
    backend = EngineBackend(Unhurried("pass", steps=4, step_seconds=0.01))
    *drafts, fill = [each async for each in backend.fill(ASKED)]
    assert isinstance(fill, Fill)
    assert drafts
    assert all(isinstance(each, Draft) for each in drafts)


async def test_an_error_is_raised() -> None:
    backend = EngineBackend(Recording(error=CheckpointMissing("no such model")))
    with pytest.raises(CheckpointMissing, match="no such model"):
        [each async for each in backend.fill(ASKED)]


async def test_closing_it_ends_the_job_and_leaves_no_error_that_nobody_asks_for() -> None:
    engine = Recording("pass", steps=1000, step_seconds=0.01)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with aclosing(EngineBackend(engine).fill(ASKED)) as events:
        await anext(events)
    for _ in range(500):
        if not engine.running:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    gc.collect()
    assert (engine.running, engine.cancelled, complaints) == (0, 1, [])


async def test_cancelling_whoever_waits_ends_the_job_and_not_the_engine() -> None:
    engine = Recording("pass", steps=1000, step_seconds=0.01)

    async def wait() -> None:
        async for _ in EngineBackend(engine).fill(ASKED):
            pass

    task = asyncio.create_task(wait())
    while not engine.running:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while engine.running:
        await asyncio.sleep(0.01)
    assert engine.cancelled == 1
