"""Real engine processes: started on demand, killed, started twice at once, and places where there can be none."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from palimpsest_engine import EngineSettings, PalimpsestError
from palimpsest_engine.runtime.open import open_engine
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_engine.shared import address, starting
from palimpsest_engine.shared.address import CannotShare
from palimpsest_engine.shared.client import CRASHES, SharedEngine
from palimpsest_engine.shared.starting import Taken, holding

from .conftest import pids, request
from .test_windows import wait_for


def requests_with(pid):
    """Return how many requests a process has under way; none if another one answers at the place, or nobody."""
    told = asyncio.run(starting.report(address.place()))
    return 0 if told is None or told.pid != pid else sum(each.requests for each in told.engines)


def test_the_first_window_starts_the_process_and_the_second_finds_it(runtime, window, scripted_process):
    texts = {window(command=scripted_process).submit(request()).future.result(20).texts for _ in range(2)}
    assert texts == {(str(pid),) for pid in pids(runtime)}
    assert len(texts) == 1


def test_windows_that_open_at_once_start_one_process_that_serves_all(runtime, window, scripted_process):
    jobs = [window(command=scripted_process).submit(request()) for _ in range(8)]
    assert len({job.future.result(30).texts for job in jobs}) == 1
    assert len(pids(runtime)) == 1


def test_a_process_that_is_killed_under_ten_windows_loses_no_answer(runtime, window, scripted_process):
    command = (*scripted_process[:2], "60000,0", "0.01")
    windows = [window(command=command) for _ in range(10)]
    first = [each.submit(request(f"{number}.py")) for number, each in enumerate(windows)]
    wait_for(lambda: [requests_with(pid) for pid in pids(runtime)] == [10])
    (killed,) = pids(runtime)
    os.kill(killed, signal.SIGKILL)
    texts = {job.future.result(30).texts for job in first}
    (_, second) = pids(runtime)
    assert texts == {(str(second),)}
    assert windows[0].submit(request()).future.result(30).texts == (str(second),)


def test_a_process_that_is_killed_again_and_again_is_not_started_before_the_next_request(
    runtime, window, scripted_process
):
    mine = window(command=(*scripted_process[:2], "1000", "0.01"))
    job = mine.submit(request())
    for number in range(CRASHES):
        # The state may be that which the one before had told: it says nothing of whether this process has the request.
        wait_for(lambda count=number + 1: len(pids(runtime)) == count and requests_with(pids(runtime)[-1]) == 1)
        os.kill(pids(runtime)[-1], signal.SIGKILL)
    with pytest.raises(PalimpsestError, match=f"ended {CRASHES} times within five minutes"):
        job.future.result(10)
    assert mine.status().state == "error"
    assert len(pids(runtime)) == CRASHES
    again = mine.submit(request())
    wait_for(lambda: mine.status().state == "busy")
    assert not again.future.done()


def test_a_socket_that_a_killed_process_left_is_no_hindrance(runtime, window, scripted_process):
    place = address.place()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(place.address)
    assert window(command=scripted_process).submit(request()).future.result(20).texts[0].isdigit()


def test_a_process_that_is_killed_while_it_is_looked_at_is_one_that_is_not_there(runtime, window, scripted_process):
    mine = window(command=scripted_process)
    mine.submit(request()).future.result(20)
    mine.close()  # it would start the process anew
    (pid,) = pids(runtime)
    assert asyncio.run(starting.report(address.place())).pid == pid

    async def killed_meanwhile():
        looking = asyncio.create_task(starting.report(address.place()))
        await asyncio.sleep(0.2)  # it waits for the answer of a process that is stopped
        os.kill(pid, signal.SIGKILL)
        return await looking

    os.kill(pid, signal.SIGSTOP)
    assert asyncio.run(killed_meanwhile()) is None


def test_a_process_that_turns_away_whoever_looks_is_said_not_to_answer(runtime, hosting, monkeypatch):
    monkeypatch.setattr(starting, "_REPORT_SECONDS", 0.3)
    hosting().host._welcome = lambda *_: None
    with pytest.raises(CannotShare, match="does not answer"):
        asyncio.run(starting.report(address.place()))


def test_the_socket_its_lock_and_its_log_are_the_users_alone(runtime, window, scripted_process):
    window(command=scripted_process).submit(request()).future.result(20)
    place = address.place()
    modes = [stat.S_IMODE(os.stat(path).st_mode) for path in (place.address, place.lock, place.log)]
    assert modes == [0o600] * 3
    assert stat.S_IMODE(place.lock.parent.stat().st_mode) == 0o700


def test_the_process_outlives_the_server_that_started_it(runtime, scripted_process):
    starts = (
        "import sys\n"
        "from palimpsest_engine import EngineSettings, FillRequest, Span\n"
        "from palimpsest_engine.shared.client import SharedEngine\n"
        "from palimpsest_engine.shared.starting import Starter\n"
        "engine = SharedEngine(EngineSettings(), None, Starter(tuple(sys.argv[1:])), '1.0')\n"
        "print(engine.submit(FillRequest('', (Span(0, 0),))).future.result(20).texts[0], flush=True)\n"
        "sys.stdin.read()\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", starts, *scripted_process], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid = int(server.stdout.readline())
    os.kill(server.pid, signal.SIGKILL)
    server.communicate()
    assert Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            "import sys; sys.exit('palimpsest: There is no room.')",
            "its process ended with 1: palimpsest: There is no room",
        ),
        ("import os; os._exit(3)", "its process ended with 3: it said nothing"),
    ],
)
def test_a_process_that_cannot_start_is_replaced_by_an_engine_of_this_one(window, program, reason):
    mine = window(command=(sys.executable, "-c", program))
    assert mine.submit(request()).future.result(20).texts == ("own",)
    assert mine.status().reason == f"The engine cannot be shared: {reason}. This editor has a model of its own."


def test_a_program_that_is_not_there_is_replaced_by_an_engine_of_this_process(window):
    mine = window(command=("/nowhere/python",))
    assert mine.submit(request()).future.result(20).texts == ("own",)
    assert "No such file" in mine.status().reason


def test_a_process_that_never_listens_is_replaced_after_a_while(window, monkeypatch):
    monkeypatch.setattr(starting, "START_SECONDS", 0.3)
    mine = window(command=(sys.executable, "-c", "import time; time.sleep(3)"))
    assert mine.submit(request()).future.result(20).texts == ("own",)
    assert "did not start within" in mine.status().reason


def test_requests_and_cancels_go_on_with_the_engine_that_stands_in(window):
    mine = window(command=("/nowhere/python",), own=lambda: ScriptedEngine(["own"], steps=2000, step_seconds=0.01))
    mine.warm()
    jobs = [mine.submit(request(f"{number}.py")) for number in range(3)]
    wait_for(lambda: mine._own is not None and mine._own.running == 3)
    jobs[0].cancel()
    wait_for(jobs[0].future.done)
    mine.close()
    assert all(job.future.exception(5) is not None for job in jobs)


def test_closing_does_not_wait_for_a_process_that_never_listens(window):
    before = list(starting._started)  # of other tests
    mine = window(command=(sys.executable, "-c", "import time; time.sleep(3)"))
    job = mine.submit(request())
    wait_for(lambda: any(each not in before for each in starting._started))
    mine.close()
    mine._thread.join(starting.START_SECONDS / 2)
    assert not mine._thread.is_alive()
    assert job.future.exception(0) is not None


# Places


def test_a_place_is_held_by_one_process_at_a_time(runtime):
    place = address.place()
    with holding(place) as leave:
        with pytest.raises(Taken), holding(place):
            pass
        leave()
        with holding(place):
            pass


@pytest.mark.parametrize("name", ["PALIMPSEST_MODELS", "CUDA_VISIBLE_DEVICES", "HF_HOME", "PYTHONPATH"])
def test_windows_whose_environment_finds_other_models_do_not_meet(runtime, monkeypatch, name):
    monkeypatch.setenv(name, "one")
    one = address.place()
    assert address.place() == one
    monkeypatch.setenv(name, "another")
    assert address.place() != one


def test_a_path_that_is_too_long_for_a_socket_gives_way_to_the_cache_folder(runtime, monkeypatch, tmp_path):
    long = runtime / ("long" * 30)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setenv("XDG_CACHE_HOME", str(runtime / "cache"))
    assert address.place().lock.parent == runtime / "cache" / "palimpsest" / "run"
    monkeypatch.setenv("XDG_CACHE_HOME", str(long))
    with pytest.raises(CannotShare, match="too long for a socket"):
        address.place()


def test_a_folder_that_belongs_to_somebody_else_is_not_used(runtime, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "relative")
    address.place()
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(CannotShare, match="belongs to another user"):
        address.place()


def test_a_link_in_the_place_of_the_folder_is_not_followed(runtime, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "relative")
    (runtime / "elsewhere").mkdir()
    (runtime / "palimpsest").symlink_to(runtime / "elsewhere")
    with pytest.raises(CannotShare, match="belongs to another user"):
        address.place()


def test_a_full_folder_is_named(runtime, monkeypatch, window):
    window_of_old = window(command=("true",))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(starting, "open", full, raising=False)
    assert window_of_old.submit(request()).future.result(20).texts == ("own",)
    assert "No space left on device" in window_of_old.status().reason


def test_the_folder_is_open_to_the_user_alone_even_if_it_was_not(runtime):
    folder = runtime / "palimpsest"
    folder.mkdir()
    folder.chmod(0o777)
    address.place()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# Opening


def test_settings_choose_between_the_shared_engine_and_an_own_one(runtime, monkeypatch):
    monkeypatch.delenv("PALIMPSEST_ENGINE")
    shared = open_engine(EngineSettings(shared=True))
    assert isinstance(shared, SharedEngine)
    assert shared._hello.settings == EngineSettings("embedded")
    assert not isinstance(open_engine(EngineSettings()), SharedEngine)
    monkeypatch.setenv("PALIMPSEST_ENGINE", "own")
    assert not isinstance(open_engine(EngineSettings(shared=True)), SharedEngine)


def test_opening_a_shared_engine_starts_nothing(runtime, monkeypatch):
    monkeypatch.delenv("PALIMPSEST_ENGINE")
    threads = set(threading.enumerate())  # of which some may end meanwhile: those of closed windows of other tests
    open_engine(EngineSettings(shared=True)).close()
    assert set(threading.enumerate()) <= threads
    assert not list(runtime.iterdir())
