"""Windows and one engine process: what crosses, what is shared, and what ends when one of the two does."""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from palimpsest_engine import CheckpointMissing, EngineSettings, EngineStatus, FillCancelled, PalimpsestError
from palimpsest_engine.messages import PROTOCOL, Cancel, Goodbye, Hello, Look, Report, Submit, Told, Warm, Welcome
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_engine.shared import channel as channels
from palimpsest_engine.shared import client as clients
from palimpsest_engine.shared import host as hosts
from palimpsest_engine.shared.address import place

from .conftest import SLOW, request


def wait_for(condition):
    """Wait until a condition holds. The limit only ends a test that would hang."""
    until = time.monotonic() + 60
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(condition)
        threading.Event().wait(0.005)


def slow():
    return ScriptedEngine(**SLOW)


# What crosses


def test_a_fill_and_its_drafts_come_back_as_the_engine_made_them(hosting, window):
    hosting(lambda: ScriptedEngine(["middle"], steps=4, step_seconds=0.01))
    drafts = []
    fill = window().submit(request(), drafts.append).future.result(10)
    there = []
    expected = ScriptedEngine(["middle"], steps=4).submit(request(), there.append).future.result(10)
    assert replace(fill, ms=0.0) == replace(expected, ms=0.0)
    assert drafts == there
    assert drafts


def test_no_drafts_are_sent_to_a_window_where_nobody_watches(hosting, raw, window):
    hosting(lambda: ScriptedEngine(steps=4, step_seconds=0.001))
    client = raw()
    client.send(Hello(PROTOCOL, "1.0", EngineSettings()))
    client.until(Told)
    client.send(Submit(1, request(), False))
    assert {type(client.receive()).__name__ for _ in range(2)} <= {"Told", "Filled"}


def test_an_error_keeps_its_class_and_its_sentence(hosting, window):
    hosting(lambda: ScriptedEngine(error=CheckpointMissing("No such model.")))
    with pytest.raises(CheckpointMissing, match=r"^No such model\.$"):
        window().submit(request()).future.result(10)


def test_a_mistake_of_the_engine_says_nothing_of_the_document(hosting, window):
    class Broken(ScriptedEngine):
        def submit(self, request, on_draft=None):
            job = super().submit(request, on_draft)
            job.future = type(job.future)()
            job.future.set_exception(ValueError("secret = 1"))
            return job

    hosting(Broken)
    with pytest.raises(PalimpsestError, match=r"^The fill failed: ValueError$"):
        window().submit(request()).future.result(10)


def test_the_status_is_that_of_the_engine_there_and_follows_it(hosting, window):
    class Told(ScriptedEngine):
        told = EngineStatus("loading", "The checkpoint is being loaded.")

        def status(self):
            return self.told

    host = hosting(Told)
    mine = window()
    assert mine.status().state == "starting"
    mine.warm()
    wait_for(lambda: mine.status() == Told.told)
    host.engines[0].told = ready = EngineStatus("ready", model="m", languages=("python",), edit_languages=())
    wait_for(lambda: mine.status() == ready)


def test_warming_reaches_the_engine(hosting, window):
    warmed = threading.Event()

    class Warmed(ScriptedEngine):
        def warm(self):
            warmed.set()

    hosting(Warmed)
    window().warm()
    assert warmed.wait(5)


def test_a_document_that_cannot_be_sent_ends_its_request_alone(hosting, window):
    hosting()
    mine = window()
    with pytest.raises(PalimpsestError, match="surrogate"):
        mine.submit(request(text="x = \ud800")).future.result(10)
    assert mine.submit(request()).future.result(10).texts == ("pass",)


# Turns


def test_a_cancelled_request_ends_before_its_next_step(hosting, window):
    host = hosting(slow)
    job = window().submit(request())
    wait_for(lambda: host.engines and host.engines[0].running)
    job.cancel()
    with pytest.raises(FillCancelled):
        job.future.result(5)
    wait_for(lambda: host.engines[0].cancelled == 1)


def test_the_newer_request_for_a_document_ends_the_older_one_of_the_same_window(hosting, window):
    host = hosting(slow)
    mine = window()
    older = mine.submit(request())
    wait_for(lambda: host.engines and host.engines[0].running)
    newer = mine.submit(request())
    with pytest.raises(FillCancelled):
        older.future.result(5)
    assert not newer.future.done()


def test_two_windows_on_one_document_do_not_end_each_others_requests(hosting, window):
    host = hosting(slow)
    jobs = [window().submit(request()) for _ in range(2)]
    wait_for(lambda: host.engines and host.engines[0].running == 2)
    assert not any(job.future.done() for job in jobs)


def test_a_window_that_asks_for_several_clients_keeps_them_apart(hosting, window):
    host = hosting(slow)
    mine = window()
    jobs = [mine.submit(request(client=name)) for name in ("ada", "grace")]
    wait_for(lambda: host.engines and host.engines[0].running == 2)
    assert not any(job.future.done() for job in jobs)


def test_windows_with_the_same_settings_share_an_engine_and_others_have_one_of_their_own(hosting, window):
    host = hosting()
    for settings in (EngineSettings("a"), EngineSettings("a"), EngineSettings("b")):
        window(settings).submit(request()).future.result(10)
    assert len(host.engines) == 2


def test_an_engine_that_could_not_load_is_tried_anew_for_a_new_window(hosting, window):
    class Failed(ScriptedEngine):
        def status(self):
            return EngineStatus("error", "No such model.")

    made = iter((Failed, ScriptedEngine))
    host = hosting(lambda: next(made)())
    window().submit(request()).future.result(10)
    window().submit(request()).future.result(10)
    assert len(host.engines) == 2


def test_a_window_that_closes_takes_its_requests_along_and_leaves_those_of_others(hosting, window):
    host = hosting(slow)
    mine, others = window(), window()
    job, other = mine.submit(request()), others.submit(request())
    wait_for(lambda: host.engines and host.engines[0].running == 2)
    mine.close()
    with pytest.raises(FillCancelled):
        job.future.result(1)
    wait_for(lambda: host.engines[0].running == 1)
    assert not other.future.done()
    assert mine.status().state == "closed"
    with pytest.raises(FillCancelled):
        mine.submit(request()).future.result(1)


def test_a_client_that_dies_in_mid_request_leaves_nothing_behind(hosting, raw):
    host = hosting(slow)
    client = raw()
    client.send(Hello(PROTOCOL, "1.0", EngineSettings()))
    client.send(Submit(1, request(), True))
    wait_for(lambda: host.engines and host.engines[0].running)
    client.socket.close()
    wait_for(lambda: not host.engines[0].running)


# Ends


def test_the_process_ends_when_nobody_has_been_there_for_a_while(hosting, window):
    host = hosting(idle=0.2)
    mine = window()
    mine.submit(request()).future.result(10)
    mine.close()
    assert host.ended() == "Nobody needed the engine for a while."
    assert host.left.is_set()


def test_an_engine_that_no_window_uses_is_closed_while_others_are_used(hosting, window):
    closed = []

    class Closing(ScriptedEngine):
        def close(self):
            closed.append(self)

    host = hosting(Closing)
    stays, goes = window(EngineSettings("a")), window(EngineSettings("b"))
    for each in (stays, goes):
        each.submit(request()).future.result(10)
    host.host._idle = 0.2  # not before: the process itself would end if the first window is late
    goes.close()
    wait_for(lambda: closed == [host.engines[1]])
    assert stays.submit(request()).future.result(10).texts == ("pass",)


def test_a_process_that_ends_answers_what_is_under_way_and_its_successor_the_rest(hosting, window, scripted_process):
    host = hosting(lambda: ScriptedEngine(["late"], steps=50, step_seconds=0.01))
    mine = window(command=scripted_process)
    job = mine.submit(request())
    wait_for(lambda: host.engines and host.engines[0].started)
    host.retire()
    wait_for(lambda: mine._parting)
    rest = mine.submit(request("b.py"))
    assert job.future.result(10).texts == ("late",)
    assert rest.future.result(20).texts[0].isdigit()
    host.ended()


def test_a_newer_version_takes_the_place_and_the_older_window_goes_on_with_it(hosting, window, scripted_process):
    old = hosting(lambda: ScriptedEngine(["old"], steps=20, step_seconds=0.01), version="1.9")
    older, newer = window(version="1.9"), window(version="1.10", command=(*scripted_process, "1.10"))
    under_way = older.submit(request())
    wait_for(lambda: old.engines and old.engines[0].started)
    texts = newer.submit(request()).future.result(20).texts
    assert under_way.future.result(10).texts == ("old",)
    assert old.ended() == "Palimpsest 1.10 has taken over from 1.9."
    assert texts == older.submit(request()).future.result(20).texts  # the number of the new process
    assert texts[0].isdigit()


# Bad input


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        struct.pack(">I", 1) + b"\x05",
    ],
)
def test_bytes_that_are_no_message_cut_the_client_off_and_nobody_else(hosting, window, raw, sent):
    hosting()
    client = raw()
    client.socket.sendall(sent)
    assert client.at_end()
    assert window().submit(request()).future.result(10).texts == ("pass",)


@pytest.mark.parametrize(
    "messages",
    [
        [Cancel(1)],
        [Warm()],
        [Hello(PROTOCOL, "1.0", EngineSettings()), Hello(PROTOCOL, "1.0", EngineSettings())],
        [Hello(PROTOCOL, "1.0", EngineSettings()), Submit(1, request(), False), Submit(1, request("b"), False)],
    ],
)
def test_messages_at_the_wrong_time_cut_the_client_off(hosting, raw, messages):
    host = hosting(slow)
    client = raw()
    for message in messages:
        client.send(message)
    assert client.at_end()
    wait_for(lambda: not any(engine.running for engine in host.engines))


@pytest.mark.parametrize("sent", [b"", b"\x00\x00", b"\x00\x00\x01\x00half"])
def test_half_a_message_is_not_waited_for_for_ever(hosting, raw, monkeypatch, sent):
    monkeypatch.setattr("palimpsest_engine.shared.host._HELLO_SECONDS", 0.2)
    monkeypatch.setattr(channels, "_BODY_SECONDS", 0.1)
    hosting()
    client = raw()
    with suppress(BrokenPipeError):  # it was not waited for
        client.socket.sendall(sent)
    assert client.at_end()


def test_a_client_of_an_older_protocol_is_told_and_has_an_engine_of_its_own(hosting, window, raw, monkeypatch):
    hosting(version="2.0")
    client = raw()
    client.send(("Hello", PROTOCOL - 1, "0.9", "settings of another form", 1, 2, 3))
    goodbye = client.receive()
    assert isinstance(goodbye, Goodbye)
    assert goodbye.final
    mine = window()
    mine._hello = Hello(PROTOCOL - 1, "0.9", EngineSettings())
    assert mine.submit(request()).future.result(10).texts == ("own",)
    assert "restart the editor" in mine.status().reason


def test_a_client_of_a_newer_protocol_takes_the_place(hosting, raw):
    host = hosting()
    raw().send(("Hello", PROTOCOL + 1, "0.9", {"settings": "of another form"}))
    assert "taken over" in host.ended()


def test_a_process_that_never_answers_is_left_alone(hosting, window, monkeypatch):
    monkeypatch.setattr(clients, "_WELCOME_SECONDS", 0.2)
    host = hosting()
    host.host._welcome = lambda first, channel: threading.Event()  # no answer, and no end
    host.host._take = lambda *_: None
    mine = window()
    assert mine.submit(request()).future.result(10).texts == ("own",)
    assert mine.status().reason == (
        "The engine cannot be shared: its process does not answer. This editor has a model of its own."
    )
    host.host._leave = lambda _: None


def test_the_socket_of_another_user_is_not_used(hosting, window, monkeypatch):
    hosting()
    monkeypatch.setattr(channels, "_user_of", lambda _: 4711)
    mine = window()
    assert mine.submit(request()).future.result(10).texts == ("own",)
    assert "another user" in mine.status().reason


def test_a_client_of_another_user_is_not_served(hosting, raw, monkeypatch):
    hosting()
    monkeypatch.setattr(channels, "_user_of", lambda _: 4711)
    client = raw()
    client.send(Hello(PROTOCOL, "1.0", EngineSettings()))
    assert client.at_end()


def test_a_window_that_reads_nothing_is_cut_off_and_its_request_ends(hosting, raw, monkeypatch):
    monkeypatch.setattr(channels, "_TOO_SLOW", 50_000)
    monkeypatch.setattr(channels, "_DROP_DRAFTS", 1 << 30)
    host = hosting(lambda: ScriptedEngine(["x" * 100_000], steps=10_000, step_seconds=0.001))
    client = raw()
    client.send(Hello(PROTOCOL, "1.0", EngineSettings()))
    client.send(Submit(1, request(), True))
    wait_for(lambda: host.engines and host.engines[0].cancelled)


def test_drafts_are_left_out_for_a_window_that_is_behind(hosting, raw, monkeypatch):
    monkeypatch.setattr(channels, "_DROP_DRAFTS", 10_000)
    host = hosting(lambda: ScriptedEngine(["x" * 100_000], steps=300, step_seconds=0.001))
    client = raw()
    client.send(Hello(PROTOCOL, "1.0", EngineSettings()))
    client.until(Told)
    client.send(Submit(1, request(), True))
    wait_for(lambda: host.engines[0].most_running)
    wait_for(lambda: not any(each.jobs for shared in host.host._engines.values() for each in list(shared.windows)))
    kinds = []
    while not kinds or kinds[-1] != "Filled":
        kinds.append(type(client.receive()).__name__)
    assert 0 < kinds.count("Drafted") < 100


def test_the_report_names_engines_windows_and_requests(hosting, window, raw):
    host = hosting(slow)
    window().submit(request())
    wait_for(lambda: host.engines and host.engines[0].running)
    client = raw()
    client.send(Look())
    report = client.receive()
    assert isinstance(report, Report)
    ((status, windows, requests),) = [(each.status, each.windows, each.requests) for each in report.engines]
    assert (status.model, windows, requests) == ("scripted", 1, 1)
    assert client.at_end()


def test_welcome_comes_first_and_then_the_status(hosting, raw):
    hosting()
    client = raw()
    client.send(Hello(PROTOCOL, "1.0", EngineSettings()))
    assert isinstance(client.receive(), Welcome)
    assert isinstance(client.receive(), Told)


def test_a_host_that_is_told_to_end_while_it_begins_to_listen_ends(runtime, monkeypatch):
    closed = []

    async def listen(address, connected):
        made.retire("a signal")
        return lambda: closed.append(address)

    monkeypatch.setattr(hosts, "listen", listen)
    made = hosts.Host(lambda _: ScriptedEngine(), version="1.0")
    assert asyncio.run(made.serve(place())) == "a signal"
    assert closed == [place().address]
