"""An engine process in this process, on a thread; a real one that answers from a script; and windows that ask either."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from palimpsest_engine import EngineSettings, FillRequest, Span
from palimpsest_engine.messages import from_engine, to_bytes
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_engine.shared import address
from palimpsest_engine.shared.client import SharedEngine
from palimpsest_engine.shared.host import Host
from palimpsest_engine.shared.starting import Starter

PROCESS = Path(__file__).with_name("scripted_process.py")
DEFAULT = EngineSettings()
SLOW = {"steps": 2000, "step_seconds": 0.01}


def request(document="a.py", text="x = \n", **more):
    return FillRequest(text, (Span(4, 4),), document=document, **more)


@pytest.fixture
def runtime(monkeypatch):
    """Return an empty runtime folder whose path is short."""
    folder = tempfile.mkdtemp(prefix="p-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


class Hosting:
    """A host on a thread of this process. engines: those that it has opened, in order."""

    def __init__(self, place, make=ScriptedEngine, idle=60.0, version="1.0"):
        self.place, self.engines, self.make = place, [], make
        self.host = Host(self._open, idle, version)
        self.started, self.left, self.reason = threading.Event(), threading.Event(), None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        for _ in range(500):
            with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
                probe.connect(place.address)  # the path is there before anybody listens
                return
            threading.Event().wait(0.01)
        raise TimeoutError

    def _open(self, settings):
        self.engines.append(self.make())
        return self.engines[-1]

    def _run(self):
        self.reason = asyncio.run(self._serve())

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        return await self.host.serve(self.place, self.left.set)

    def retire(self, reason="enough"):
        self.loop.call_soon_threadsafe(self.host.retire, reason)

    def ended(self):
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.reason


@pytest.fixture
def hosting(runtime):
    """Return what starts a host."""
    running = []

    def start(*arguments, **more):
        running.append(Hosting(address.place(), *arguments, **more))
        return running[-1]

    yield start
    for each in running:
        if each.thread.is_alive():
            each.retire()
        each.ended()


@pytest.fixture
def window(runtime):
    """Return what opens a window: an engine over the socket."""
    opened = []

    def open_window(settings=DEFAULT, command=(), own=lambda: ScriptedEngine(["own"]), version="1.0"):
        opened.append(SharedEngine(settings, own, Starter(command), version))
        return opened[-1]

    yield open_window
    for each in opened:
        each.close()


@pytest.fixture
def scripted_process(runtime):
    """Return the command of a real engine process, which answers with its own number; end those that ran."""
    command = (sys.executable, str(PROCESS), "0", "0")
    yield command
    for pid in pids(runtime):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def pids(runtime):
    """Return the processes that have listened in a runtime folder."""
    return [int(path.name) for path in sorted(runtime.glob("pids/*"), key=lambda path: path.stat().st_mtime_ns)]


class Raw:
    """A client that sends whatever bytes a test says."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)  # ends a test that would hang
        self.socket.connect(address.place().address)

    def send(self, message):
        packed = to_bytes(message)
        with suppress(ConnectionError):  # it may have cut us off already
            self.socket.sendall(struct.pack(">I", len(packed)) + packed)

    def receive(self):
        """Return the next message, or None at the end."""
        head = self._exactly(4)
        return None if head is None else from_engine(self._exactly(struct.unpack(">I", head)[0]))

    def until(self, kind):
        while not isinstance(message := self.receive(), kind):
            assert message is not None
        return message

    def at_end(self):
        """Read to the end; return whether it came."""
        with suppress(ConnectionResetError):
            while self.socket.recv(1 << 16):
                pass
        return True

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            if not (more := self.socket.recv(size - len(data))):
                return None
            data += more
        return data


@pytest.fixture
def raw():
    """Return what connects without our client."""
    opened = []

    def connect():
        opened.append(Raw())
        return opened[-1]

    yield connect
    for each in opened:
        each.socket.close()
