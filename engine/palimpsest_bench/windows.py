"""Measure what a second window costs, and what the socket to the engine process adds. Starts engine processes of its own.

Memory is proportional set size, which divides what processes share among them, of all processes together (Linux; elsewhere
what is unique to each).
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import psutil

from palimpsest_bench.fairness import STORMING, beside_a_storm, fixed_time
from palimpsest_bench.server.client import Editor, connected, text_of
from palimpsest_bench.server.observe import percentiles
from palimpsest_engine import Engine, EngineSettings, FillRequest, Span, open_engine
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_engine.shared import starting
from palimpsest_engine.shared.address import place
from palimpsest_engine.shared.client import SharedEngine
from palimpsest_engine.shared.host import Host
from palimpsest_engine.shared.starting import Starter, holding

_SERVER = (sys.executable, "-m", "palimpsest_server", "serve")
_URI = "file:///windows/example.py"
_TEXT = "def add(a, b):\n    return \n\n\nprint(add(1, 2))\n"
_CURSOR = (1, 11)
_OFFSET = _TEXT.index("return ") + len("return ")
_WINDOWS, _KILLED_UNDER = 3, 10
_SETTLE_SECONDS = 1.0
_FILL_SECONDS = 0.02
_EMPTY_ENGINE = (sys.executable, "-m", __name__)


def windows(settings: EngineSettings, section: dict[str, Any]) -> dict[str, Any]:
    """Return the memory of one, two and three windows and the time to the first suggestion of each, shared and own, and
    what becomes of requests under way in ten windows when their engine process is killed.
    """
    with private_place():
        shared = asyncio.run(_opened(section | {"engine": "shared"}))
        killed = _killed(settings)
    with private_place():
        own = asyncio.run(_opened(section | {"engine": "own"}))
    return {"windows": {"shared": shared, "own": own, "killed": killed}}


def socket(document: str, requests: int) -> dict[str, Any]:
    """Return the milliseconds that a request over the socket takes, with an engine that takes no time."""
    request = FillRequest(document, (Span(len(document) // 2, len(document) // 2),), document=_URI)
    direct, over = ScriptedEngine(), None
    with private_place():
        try:
            over = SharedEngine(EngineSettings(), ScriptedEngine, Starter(_EMPTY_ENGINE))
            _timed(over, request, 100)
            shared, alone = _timed(over, request, requests), _timed(direct, request, requests)
        finally:
            if over is not None:
                over.close()
    return {
        "socket": {
            "characters": len(document),
            "shared_ms": percentiles(shared, 50, 99),
            "direct_ms": percentiles(alone, 50, 99),
        }
    }


def turns(document: str, samples: int) -> dict[str, Any]:
    """Return the figures of a quiet window beside windows that storm, over the socket, with fills of a fixed time."""
    with private_place():
        opened = [
            SharedEngine(EngineSettings(), ScriptedEngine, Starter((*_EMPTY_ENGINE, str(_FILL_SECONDS))))
            for _ in range(STORMING + 1)
        ]
        try:
            quiet, *storming = opened
            return {"engine": "fixed time, over the socket"} | beside_a_storm(quiet, storming, document, samples)
        finally:
            for each in opened:
                each.close()


def _timed(engine: Engine, request: FillRequest, count: int) -> list[float]:
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        engine.submit(request).future.result(60)
        times.append((time.perf_counter() - begun) * 1000)
    return times


# Windows of real servers


async def _opened(section: dict[str, Any]) -> dict[str, list[float]]:
    """Open window after window; return the memory of all and the time to the first suggestion of the last, for each."""
    memory, first = [], []
    async with AsyncExitStack() as stack:
        for _ in range(_WINDOWS):
            begun = time.perf_counter()
            editor = await stack.enter_async_context(_window(section))
            await _suggestion(editor)
            first.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(_SETTLE_SECONDS)
            memory.append(await _memory_mb())
    return {"memory_mb": memory, "first_ms": first}


@asynccontextmanager
async def _window(section: dict[str, Any]) -> AsyncIterator[Editor]:
    async with connected(_SERVER, section) as editor:
        editor.open(_URI, "python", _TEXT)
        yield editor


async def _suggestion(editor: Editor) -> str:
    """Ask as a user does who waits for the answer."""
    where = {"line": _CURSOR[0], "character": _CURSOR[1]}
    asked = {"textDocument": {"uri": _URI}, "position": where, "context": {"triggerKind": 1}}
    return text_of(await editor.request("textDocument/inlineCompletion", asked))


async def _memory_mb() -> float:
    """Return the memory of this process's children and of the engine process with its own, in millions of bytes."""
    roots = [psutil.Process()]
    if report := await starting.report(place()):
        roots.append(psutil.Process(report.pid))
    processes = {child.pid: child for root in roots for child in root.children(recursive=True)}
    processes |= {root.pid: root for root in roots[1:]}
    return sum(_one_mb(process) for process in processes.values())


def _one_mb(process: psutil.Process) -> float:
    try:
        told = process.memory_full_info()
    except psutil.NoSuchProcess:
        return 0.0
    return float(getattr(told, "pss", told.uss)) / 1e6


# A crash


def _killed(settings: EngineSettings) -> dict[str, Any]:
    """Kill the engine process under requests of many windows; count what is lost or wrong, and time the next answers."""
    logging.getLogger("palimpsest.engine").setLevel(logging.ERROR)  # each window says that the process has ended
    engines = [open_engine(replace(settings, shared=True)) for _ in range(_KILLED_UNDER)]
    requests = [
        FillRequest(_TEXT, (Span(_OFFSET, _OFFSET),), document=f"{number}.py", path="a.py", language="python")
        for number in range(_KILLED_UNDER)
    ]
    try:
        expected = [
            engine.submit(each).future.result(120).texts for engine, each in zip(engines, requests, strict=True)
        ]
        jobs = [engine.submit(each) for engine, each in zip(engines, requests, strict=True)]
        report = asyncio.run(starting.report(place()))
        assert report is not None
        psutil.Process(report.pid).kill()
        begun, lost, wrong, took = time.perf_counter(), 0, 0, []
        for job, texts in zip(jobs, expected, strict=True):
            try:
                wrong += job.future.result(120).texts != texts
            except Exception:
                lost += 1
            took.append(time.perf_counter() - begun)
    finally:
        for engine in engines:
            engine.close()
    return {"windows": _KILLED_UNDER, "lost": lost, "wrong": wrong, "first_s": min(took), "all_s": max(took)}


# Places


@contextmanager
def private_place() -> Iterator[None]:
    """Use a runtime folder of this measurement alone, and end the engine process that is in it afterwards."""
    folder = tempfile.mkdtemp(prefix="palimpsest-")
    before = {name: os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "PALIMPSEST_ENGINE")}
    os.environ["XDG_RUNTIME_DIR"] = folder
    os.environ.pop("PALIMPSEST_ENGINE", None)
    try:
        yield
    finally:
        asyncio.run(starting.retire(place(), "The measurement is over."))
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run an engine process whose engine takes no time, or for each fill the seconds that the command line says."""
    seconds = float(sys.argv[1]) if sys.argv[1:] else 0.0
    with holding(place()) as leave:
        host = Host(lambda _: fixed_time(seconds) if seconds else ScriptedEngine(), idle=5.0)
        asyncio.run(host.serve(place(), leave))
    os._exit(0)


if __name__ == "__main__":
    main()
