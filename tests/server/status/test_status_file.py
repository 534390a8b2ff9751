"""The file that a running server keeps, and its readers."""

import asyncio
import json
import logging
import os
import stat
import subprocess
import sys

import pytest

from palimpsest_engine import runtime_folders
from palimpsest_server.status import status_file
from palimpsest_server.status.requests import Requests
from palimpsest_server.status.status_file import Live

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders are found by HOME")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a user's home with neither files nor a session."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


@pytest.fixture
def folder(home):
    (folder,) = runtime_folders()
    return folder


@pytest.fixture
async def running(home):
    """Return a server that writes its file; `state` is its present state."""
    requests = Requests()
    server = Live(lambda: {"state": "ready", "n": len(requests.recent)}, requests)
    server.requests = requests
    yield server
    server.close()
    await ended(server)


async def ended(server):
    while server._thread is not None and server._thread.is_alive():
        await asyncio.sleep(0.001)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def written(folder, name=None):
    file = folder / f"{name or os.getpid()}.json"
    return json.loads(file.read_text()) if file.exists() else None


def leave(folder, pid, **changes):
    """Leave a file as a server with this pid would."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {"format": 1, "pid": pid, "created": status_file._process_created(pid), "status": {"state": "ready"}}
    file = folder / f"{pid}.json"
    file.write_text(json.dumps(content | {"started": "2026-01-01"} | changes))
    return file


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


async def test_from_open_to_close_there_is_a_file_that_only_the_user_can_read(running, folder):
    running.changed()
    assert not folder.exists()
    running.client, running.folders = "Neovim", ("file:///code",)
    running.requests.answered("m", "", "cache")
    running.requests.answered("m", "no")
    running.open()
    await until(lambda: written(folder))
    file = folder / f"{os.getpid()}.json"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (content,) = status_file.servers()
    assert content["pid"] == os.getpid()
    assert (content["client"], content["folders"]) == ("Neovim", ["file:///code"])
    assert content["status"] == {"state": "ready", "n": 2}
    assert [(each["id"], each["reason"], each["source"]) for each in content["requests"]] == [
        ("r1", None, "cache"),
        ("r2", "no", ""),
    ]
    running.close()
    await ended(running)
    assert list(folder.iterdir()) == []
    assert status_file.servers() == []


async def test_a_flood_of_changes_is_two_writes_and_the_last_one_counts(running, folder, monkeypatch):
    monkeypatch.setattr(status_file, "_SECONDS", 0.05)
    writes = []
    write = status_file._write
    monkeypatch.setattr(status_file, "_write", lambda file, text: (writes.append(text), write(file, text)))
    running.open()
    for _ in range(1000):
        running.requests.answered("m", "no")
        running.changed()
    await until(lambda: (written(folder) or {"status": {"n": 0}})["status"]["n"] == 20)
    assert len(writes) == 2


async def test_a_disk_that_hangs_holds_nobody_up_and_nothing_piles_up(running, folder, monkeypatch):
    monkeypatch.setattr(status_file, "_SECONDS", 0.0)
    let_go = asyncio.Event()
    loop = asyncio.get_running_loop()
    write = status_file._write

    def hanging(file, text):
        asyncio.run_coroutine_threadsafe(let_go.wait(), loop).result(30)
        write(file, text)

    monkeypatch.setattr(status_file, "_write", hanging)
    running.open()
    for _ in range(50):
        running.requests.answered("m", "no")
        running.changed()
        await asyncio.sleep(0)
    assert running._news.qsize() <= 1
    let_go.set()
    await until(lambda: (written(folder) or {"status": {"n": 0}})["status"]["n"] == 20)


@pytest.mark.parametrize("fault", ["a file in the way", "a full disk", "somebody else's folder"])
async def test_a_fault_is_logged_once_and_harms_nobody(running, folder, monkeypatch, caplog, fault):
    monkeypatch.setattr(status_file, "_SECONDS", 0.0)
    if fault == "a file in the way":
        folder.parent.parent.mkdir(parents=True)
        folder.parent.write_text("")
    elif fault == "somebody else's folder":
        monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    else:

        def full(file, text):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(status_file, "_write", full)
    with caplog.at_level(logging.WARNING):
        running.open()
        for _ in range(5):
            running.changed()
            await asyncio.sleep(0.01)
        running.close()
        await ended(running)
    (record,) = caplog.records
    assert "doctor --live" in record.getMessage()


async def test_a_folder_that_is_a_link_is_not_written_to(running, folder, home, caplog):
    (home / "elsewhere").mkdir()
    folder.parent.mkdir(parents=True)
    folder.symlink_to(home / "elsewhere")
    running.open()
    await until(lambda: caplog.records)
    assert list((home / "elsewhere").iterdir()) == []


async def test_a_file_that_was_removed_is_written_again(running, folder, monkeypatch):
    monkeypatch.setattr(status_file, "_SECONDS", 0.0)
    running.open()
    await until(lambda: written(folder))
    (folder / f"{os.getpid()}.json").unlink()
    folder.rmdir()
    await until(lambda: running.changed() or written(folder))


async def test_a_server_cleans_up_after_those_that_were_killed(running, folder):
    stale = leave(folder, dead_pid())
    running.open()
    await until(lambda: written(folder))
    assert not stale.exists()


def test_a_file_of_a_process_that_ended_is_ignored_and_removed(folder):
    stale = leave(folder, dead_pid())
    assert status_file.servers() == []
    assert not stale.exists()


def test_so_is_one_whose_pid_is_another_process_now(folder):
    stale = leave(folder, os.getpid(), created=status_file._process_created(os.getpid()) - 3600)
    assert status_file.servers() == []
    assert not stale.exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"status": 1}', "[" * 100_000, '{"status": {}}' + " " * (1 << 20)]
)
def test_a_file_that_is_no_status_is_ignored(folder, content):
    leave(folder, os.getpid()).write_text(content)
    assert status_file.servers() == []


def test_files_of_others_and_other_files_are_left_alone(folder):
    for name in ("notes.txt", "x.json", "12x.json", "-1.json", "99999999999999.json"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    before = sorted(folder.iterdir())
    assert status_file.servers() == []
    assert sorted(folder.iterdir()) == before


def test_a_link_is_not_followed(folder, tmp_path):
    file = leave(folder, os.getpid())
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    assert status_file.servers() == []


def test_the_session_folder_comes_first_and_both_are_read(home, monkeypatch, tmp_path):
    (cache,) = runtime_folders()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "not there"))
    assert runtime_folders() == (cache,)
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert runtime_folders() == (tmp_path / "runtime" / "palimpsest", cache)
    leave(cache, os.getpid())
    assert [server["pid"] for server in status_file.servers()] == [os.getpid()]
