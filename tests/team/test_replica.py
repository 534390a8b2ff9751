"""One replica without a cluster: what it streams, what it says of its health, and that nothing is raised or logged."""

import asyncio
import logging
from types import SimpleNamespace

import msgspec
import pytest

from palimpsest_engine import EngineStatus, FillRequest, PalimpsestError, Span, messages
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_team import replica
from palimpsest_team.options import Deployed
from palimpsest_team.replica import EngineReplica

PACKED = messages.to_bytes(FillRequest("secret = \n", (Span(9, 9),), document="a.py"))


def made(engine=None, monkeypatch=None, **options) -> EngineReplica:
    if engine is not None:
        monkeypatch.setattr(replica, "open_engine", lambda settings: engine)
        return EngineReplica(msgspec.msgpack.encode(Deployed(**options)), "r1")
    return EngineReplica(msgspec.msgpack.encode(Deployed(script="pass", steps=2, **options)), "r1")


async def streamed(one: EngineReplica, packed: bytes = PACKED) -> list:
    name, *rest = [item async for item in one.fill(packed, key="k")]
    assert name == b"r1"
    return [messages.from_engine(item) for item in rest]


async def test_its_name_comes_first_then_drafts_then_the_fill():
    *drafts, last = await streamed(made())
    assert all(isinstance(each, messages.Drafted) for each in drafts)
    assert last.fill.texts == ("pass",)


async def test_it_is_ready_when_it_is_made_and_says_so():
    told = messages.from_engine(await made().status())
    assert told.status.state in ("ready", "busy")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (PalimpsestError("It cannot."), "PalimpsestError", "It cannot."),
        (
            ValueError("secret code"),
            "PalimpsestError",
            "The replica failed to fill this; its log has the kind of the error.",
        ),
    ],
)
async def test_errors_are_sent_and_not_raised_and_a_bugs_text_goes_nowhere(error, kind, message, monkeypatch, caplog):
    class Broken(ScriptedEngine):
        def submit(self, request, on_draft=None):
            raise error

    (failed,) = await streamed(made(Broken(), monkeypatch))
    assert (failed.kind, failed.message) == (kind, message)
    assert "secret" not in caplog.text


async def test_bytes_that_are_no_request_are_an_error_that_is_sent():
    (failed,) = await streamed(made(), b"\xc1")
    assert failed.kind == "NotAMessage"


def test_a_model_that_cannot_be_loaded_ends_the_replica_with_the_engines_reason(monkeypatch):
    class Hopeless(ScriptedEngine):
        def status(self):
            return EngineStatus("error", "There is no such model.", exit_code=20)

    with pytest.raises(RuntimeError, match="no such model"):
        made(Hopeless(), monkeypatch)


async def test_an_engine_in_error_is_unhealthy(monkeypatch):
    engine = ScriptedEngine()
    one = made(engine, monkeypatch)
    await one.check_health()
    monkeypatch.setattr(engine, "status", lambda: EngineStatus("error", "The device is gone."))
    with pytest.raises(RuntimeError):
        await one.check_health()


async def test_a_fill_without_a_sign_of_life_is_unhealthy_and_an_idle_replica_is_not(monkeypatch):
    now = [1_000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])  # of this module alone: event loops and other threads look, too
    monkeypatch.setattr(replica, "time", clock)
    one = made(ScriptedEngine(steps=1, step_seconds=60), monkeypatch, silence_seconds=120)
    now[0] += 10_000
    await one.check_health()
    stream = one.fill(PACKED)
    await anext(stream)
    waiting = anext(stream)
    task = asyncio.ensure_future(waiting)
    await asyncio.sleep(0)
    now[0] += 119
    await one.check_health()
    now[0] += 2
    with pytest.raises(RuntimeError, match="no sign of life"):
        await one.check_health()
    task.cancel()


async def test_a_stream_that_is_closed_ends_the_fill(monkeypatch):
    engine = ScriptedEngine(steps=3, step_seconds=60)
    one = made(engine, monkeypatch)
    stream = one.fill(PACKED)
    await anext(stream)
    task = asyncio.ensure_future(anext(stream))
    while not engine.running:
        await asyncio.sleep(0)
    task.cancel()
    while engine.running:
        await asyncio.sleep(0)
    assert engine.cancelled == 1


def test_nothing_is_logged_by_a_replica_that_works(caplog):
    caplog.set_level(logging.DEBUG)
    made()
    assert "secret" not in caplog.text
