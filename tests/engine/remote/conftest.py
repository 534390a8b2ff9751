"""Servers to ask: a real llama.cpp with a small model, and one that answers with the bytes that a test says."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest

from palimpsest_engine import Draft, Endpoint, Fill, FillRequest, Span
from palimpsest_engine.remote.transport import Limits
from palimpsest_engine.runtime.remote import RemoteEngine
from small_model import small_model

PATIENT = Limits(connect=30.0, silence=30.0, total=30.0, probe=30.0, line=10_000, body=100_000)
QUICK = replace(PATIENT, connect=1.0, silence=0.6, total=1.5, probe=1.0)  # for a server that takes too long on purpose
TEXT = "def area(width, height):\n    return \n\n\nprint(area(3, 4))\n"
AT = TEXT.index("return ") + len("return ")


def request(text: str = TEXT, at: int = AT, **more: Any) -> FillRequest:
    return FillRequest(text, more.pop("holes", (Span(at, at),)), language="python", **more)


Answer = Callable[[socket.socket, str, dict[str, Any]], None]


class Wire:
    """A server on a loopback port, a thread a connection. answer: called with the socket, the path and the body.

    asked: what came, in order. closed: set once the client has closed the connection of a streamed answer.
    """

    def __init__(self, answer: Answer, port: int = 0) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.closed = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError, ValueError, IndexError):
            file = connection.makefile("rb")
            path = file.readline().split()[1].decode()
            headers = {}
            while (line := file.readline().strip()) != b"":
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = json.loads(file.read(int(headers.get("content-length", 0))) or b"{}")
            self.asked.append((path, body, headers))
            try:
                self.answer(connection, path, body)
            except (BrokenPipeError, ConnectionResetError):
                self.closed.set()

    def close(self) -> None:
        self._socket.close()


def head(kind: str = "text/event-stream", status: str = "200 OK", **more: object) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *(f"{name}: {value}" for name, value in more.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def whole(value: object, status: str = "200 OK") -> bytes:
    """An answer of JSON in one piece."""
    body = json.dumps(value).encode()
    return head("application/json", status, **{"Content-Length": len(body)}) + body


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


PROPERTIES = {"default_generation_settings": {"n_ctx": 4096}, "model_alias": "/models/tiny.gguf"}
MODELS = {"data": [{"id": "tiny", "max_model_len": 2048}]}


@pytest.fixture
def serve() -> Iterator[Callable[..., Wire]]:
    wires: list[Wire] = []

    def start(answer: Answer, port: int = 0) -> Wire:
        wires.append(Wire(answer, port))
        return wires[-1]

    yield start
    for wire in wires:
        wire.close()


class Asked:
    """An engine, what its drafts read, and a way to wait for a fill."""

    def __init__(self, endpoint: Endpoint, limits: Limits | None) -> None:
        self.engine = RemoteEngine(endpoint, limits)
        self.drafts: list[Draft] = []

    def fill(self, asked: FillRequest) -> Fill:
        return self.engine.submit(asked, self.drafts.append).future.result(60)


@pytest.fixture
def ask() -> Iterator[Callable[..., Asked]]:
    opened: list[Asked] = []

    def start(url: str, limits: Limits | None = PATIENT, **more: Any) -> Asked:
        opened.append(Asked(Endpoint(url, **more), limits))
        return opened[-1]

    yield start
    for each in opened:
        each.engine.close()


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """The URL of a llama.cpp server, in a process of its own: one in this process would share its threads."""
    pytest.importorskip("xllamacpp", reason="the extra llama is not installed")
    code = (
        "import sys, xllamacpp\n"
        "p = xllamacpp.CommonParams(); p.model.path = sys.argv[1]; p.n_ctx = 2048; p.port = 0; p.n_parallel = 1\n"
        "p.cpuparams.n_threads = 1; p.warmup = False\n"
        "s = xllamacpp.Server(p); print(s.listening_address, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(small_model())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        yield next(line.strip() for line in lines if line.startswith("http://"))
    finally:
        process.kill()
        process.communicate()
