"""The application over a scripted engine: called in this process, or served on a free port."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from palimpsest_api.app import create
from palimpsest_api.backend import EngineBackend
from palimpsest_api.limits import Limits
from palimpsest_api.serving import Hooks, listener, server_of
from palimpsest_engine import Draft, Engine, Fill, FillRequest, Job, Verdict
from palimpsest_engine.runtime.scripted import ScriptedEngine

HERE = "http://127.0.0.1"
# Times that no test reaches, however busy the machine; a test of one bound lowers that one.
PATIENT = Limits(
    head=2048,
    head_seconds=60,
    body=4096,
    body_seconds=60,
    connections=8,
    fills=2,
    fill_seconds=60,
    stalled_seconds=60,
    idle_seconds=60,
    ping_seconds=0.05,
    ending_seconds=30,
)
SOON = 0.3


class Recording(ScriptedEngine):
    """A scripted engine that keeps the requests, and counts how often it was warmed; `alternatives` go with every fill."""

    def __init__(self, *script: str, alternatives: tuple[str, ...] = (), **more: Any) -> None:
        super().__init__(script or ("return 1",), **more)
        self.requests: list[FillRequest] = []
        self.warmed = 0
        self.alternatives = alternatives

    def warm(self) -> None:
        self.warmed += 1

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        self.requests.append(request)
        job = super().submit(request, on_draft)
        if self.alternatives:
            fill = job.future.result()
            job = Job(request)
            job.future.set_result(
                Fill(fill.texts, fill.verdict, alternatives=tuple((text,) for text in self.alternatives))
            )
        return job

    @property
    def request(self) -> FillRequest:
        [request] = self.requests
        return request


Client = Callable[..., httpx.AsyncClient]


@pytest.fixture
def client() -> Client:
    """Make a client of an application over an engine, without a port."""

    def make(engine: Engine, host: str = HERE, **more: Any) -> httpx.AsyncClient:
        app = create(EngineBackend(engine), **more)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=host, trust_env=False)

    return make


OnDraft = Callable[[Draft], None]


def taken(on_draft: OnDraft | None) -> OnDraft | None:
    """Return what shows drafts to the event loop that runs, and goes on only when that has had time to take them.

    Else a loop that is kept waiting for as long as the whole fill takes finds the fill, and leaves all drafts out.
    """
    loop = asyncio.get_running_loop()

    def shown(draft: Draft) -> None:
        assert on_draft is not None
        on_draft(draft)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(60)

    return None if on_draft is None else shown


class Unhurried(Recording):
    """A recording engine that waits until each draft is taken."""

    def submit(self, request: FillRequest, on_draft: OnDraft | None = None) -> Job:
        return super().submit(request, taken(on_draft))


class Held(Recording):
    """Answers nobody before the end. Each job is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []

    def submit(self, request: FillRequest, on_draft: OnDraft | None = None) -> Job:
        self.jobs.append(Job(request))
        return self.jobs[-1]

    def close(self) -> None:
        for job in self.jobs:
            if not job.future.done():
                job.future.set_result(Fill(("x",), Verdict("valid")))


@dataclass
class Served:
    """A server on a port of this machine. url: where it is."""

    url: str
    port: int
    end: Callable[[], None]

    def connected(self) -> socket.socket:
        """A connection that waits for as long as a busy machine takes, and not for ever."""
        return socket.create_connection(("127.0.0.1", self.port), 60)


@contextmanager
def serving(
    engine: Engine, limits: Limits = PATIENT, tls: ssl.SSLContext | None = None, **more: Any
) -> Iterator[Served]:
    """Serve an engine on a free port, on a thread of its own."""
    ready = threading.Event()
    taken = listener("127.0.0.1", 0)
    server = server_of(create(EngineBackend(engine), limits=limits, **more), tls, Hooks(ready.set, lambda status: True))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([taken])), name="api-on-trial")
    thread.start()

    def end() -> None:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()

    try:
        assert ready.wait(60)
        port = taken.getsockname()[1]
        yield Served(f"http{'s' if tls else ''}://127.0.0.1:{port}", port, end)
    finally:
        end()
        taken.close()


def infill(prefix: str = "def f():\n    ", suffix: str = "\n", **more: Any) -> dict[str, Any]:
    return {"input_prefix": prefix, "input_suffix": suffix, **more}


def events(text: str) -> list[str]:
    """The data of each server-sent event."""
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
