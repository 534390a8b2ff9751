"""Run the real server process on a scripted engine, set up by one argument of JSON."""

import asyncio
import hashlib
import json
import sys
import threading
import time
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

from palimpsest_engine import (
    Draft,
    EngineSettings,
    EngineStatus,
    Fill,
    FillRequest,
    Job,
    OutOfMemory,
    PalimpsestError,
    Verdict,
)
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.app import serve


class EchoEngine(ScriptedEngine):
    """Refuses with a digest of the text and the hole that the server gave it.

    The digest comes as a reason, because a text would be tidied.
    """

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        hole = request.holes[0]
        self.error = PalimpsestError(digest(request.text, hole.start, hole.end))
        return super().submit(request, on_draft)


class NoisyEngine(ScriptedEngine):
    """Prints, as libraries do."""

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        print("Content-Length: 3\r\n\r\nnoise from a library", flush=True)
        return super().submit(request, on_draft)


class ChoicesEngine(ScriptedEngine):
    """Answers with the first text of the script; the others are the alternatives."""

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        job = Job(request)
        first, *others = [(text,) * len(request.holes) for text in self.script]
        job.future.set_result(Fill(first, Verdict("not checked", "scripted"), alternatives=tuple(others)))
        return job


class SayingEngine(ScriptedEngine):
    """Writes the instruction before the lines, or in place of them what the task is and how much was said before."""

    def status(self) -> EngineStatus:
        return replace(super().status(), instructs=True)

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        hole = request.holes[0]
        text = request.text[hole.start : hole.end]
        if request.task == "rewrite" and not request.turns:
            self.script = [f"# {request.instruction}: {text}"]
        else:
            self.script = [f"# {request.task} {len(request.turns)}: {text}"]
        return super().submit(request, on_draft)


class HeldEngine(ScriptedEngine):
    """Stays in its first step until there is a file `until`."""

    def __init__(self, until: str, **script: Any) -> None:
        super().__init__(steps=4, step_seconds=0.001, **script)
        self.until = Path(until)

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        def held(draft: Draft) -> None:
            while not self.until.exists():
                time.sleep(0.01)
            on_draft(draft)

        return super().submit(request, held)


class FaultyEngine(ScriptedEngine):
    """Fails, as the path of the document says: `in-MemoryError.py`, `at-SystemExit.py`, `hangs.py`.

    in: in the job. at: when it is submitted. hangs: no answer and no other sign of life, ever.
    """

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        how, _, what = PurePath(request.path or "").stem.partition("-")
        if how == "at":
            raise FAULTS[what]
        if how not in ("in", "hangs"):
            return super().submit(request, on_draft)
        job = Job(request)
        if how == "in":
            threading.Thread(target=job.future.set_exception, args=(FAULTS[what],), daemon=True).start()
        return job


class BusyEngine(ScriptedEngine):
    """Holds the event loop up, which an engine must not do."""

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        begun = time.thread_time()
        while time.thread_time() < begun + 0.1:
            pass
        return super().submit(request, on_draft)


class Odd(BaseException):
    """An error of an unusual kind."""


FAULTS: dict[str, BaseException] = {
    type(error).__name__: error
    for error in (
        ValueError("a fault"),
        MemoryError(),
        OutOfMemory("out of memory: 9 GB needed, 1 GB free"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        Odd("odd"),
    )
}


def digest(text: str, start: int, end: int) -> str:
    """Return a short text, different for every text and hole."""
    return f"{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}:{start}:{end}"


def reference() -> float:
    """Return how many times slower this processor is now than when it is left alone: busy neighbours slow it."""
    took = []
    for _ in range(3):
        begun = time.thread_time()
        sum(number * number for number in range(REFERENCE))
        took.append(time.thread_time() - begun)
    return max(1.0, sorted(took)[1] / REFERENCE_SECONDS)


def watch(file: str) -> None:
    """Write down, from now on, whatever holds the event loop up, whenever it is a new maximum.

    Wall clock would be other people's doing. A line is `["callback", ms, which]`: what the loop's thread used in one
    callback; or `["beat", ms, ""]`: what the whole process used between two turns of the loop, which other threads that
    hold the interpreter's lock add to. Milliseconds of CPU, divided by how slow a reference is at that moment.
    """
    most = {"callback": WORTH_A_LINE, "beat": WORTH_A_LINE}
    run = asyncio.Handle._run
    apart = 0.0  # spent on references

    def note(kind: str, seconds: float, which: object) -> None:
        nonlocal apart
        if seconds > most[kind]:
            begun = time.thread_time()
            seconds /= reference()
            apart += time.thread_time() - begun
        if seconds > most[kind]:
            most[kind] = seconds
            with open(file, "a", encoding="utf-8") as out:
                out.write(json.dumps([kind, round(seconds * 1000, 1), f"{which!r:.300}" if which else ""]) + "\n")

    def watched(handle: asyncio.Handle) -> None:
        begun = time.thread_time()
        run(handle)
        note("callback", time.thread_time() - begun, handle)

    def beat(loop: asyncio.AbstractEventLoop, last: float) -> None:
        note("beat", time.process_time() - apart - last, None)
        loop.call_later(BEAT_SECONDS, beat, loop, time.process_time() - apart)

    def started() -> asyncio.AbstractEventLoop:
        loop = new_loop()
        loop.call_soon(beat, loop, time.process_time() - apart)
        return loop

    new_loop = asyncio.new_event_loop
    asyncio.new_event_loop = asyncio.events.new_event_loop = started
    asyncio.Handle._run = watched  # type: ignore[method-assign]


KINDS = {
    "echo": EchoEngine,
    "noisy": NoisyEngine,
    "choices": ChoicesEngine,
    "saying": SayingEngine,
    "held": HeldEngine,
    "faulty": FaultyEngine,
    "busy": BusyEngine,
}
BEAT_SECONDS = 0.005
WORTH_A_LINE = 0.001
REFERENCE, REFERENCE_SECONDS = 30_000, 0.00075  # a loop, and what it takes on an idle core of an AMD EPYC


def main() -> int:
    """Serve one client."""
    options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    listen = options.pop("listen", None)
    if file := options.pop("watch", None):
        watch(file)
    if options.pop("wordwise", False):
        from palimpsest_server.features.next_edit import answer

        sys.path.insert(0, str(Path(__file__).parent.parent))
        answer.follow_ups = import_module("wordwise").follow_ups
    kind = KINDS.get(options.pop("kind", ""), ScriptedEngine)
    if message := options.pop("error", None):
        options["error"] = OutOfMemory(message)

    tells = options.pop("tells_settings", False)

    def engine(settings: EngineSettings) -> ScriptedEngine:
        if tells:
            options["error"] = PalimpsestError(json.dumps(asdict(settings)))
        return kind(**options)

    return serve(engine, listen=listen and Path(listen))


if __name__ == "__main__":
    sys.exit(main())
