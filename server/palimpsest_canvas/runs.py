"""Run fills for the page, keep what they showed, and tell all listeners; lives on one event loop.

A run keeps its events as bytes, so one that comes late gets all of them, and a slow one holds nobody up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from secrets import token_urlsafe
from time import monotonic
from typing import Literal

import msgspec

from palimpsest_canvas import recording
from palimpsest_canvas.document import Target
from palimpsest_canvas.recording import Failed, Outcome
from palimpsest_canvas.traced import left_to_right
from palimpsest_engine import Draft, Engine, FillCancelled, FillRequest, Job, PalimpsestError

logger = logging.getLogger("palimpsest.canvas")

KEPT = 20  # recordings
KEPT_BYTES = 256 * 2**20  # of all of them
_FULL_BYTES = 48 * 2**20  # of one; from then on its frames have no choices
_LOOK_SECONDS = 0.25
SILENT_SECONDS = 120.0
MOST_RUNNING = 8

CANCELLED = "The fill was cancelled."
ENDING = "The server is shutting down."

Source = Literal["page", "editor"]


class Track:
    """The frames of one fill, and its end."""

    def __init__(self) -> None:
        self.frames: list[msgspec.Raw] = []
        self.outcome: Outcome | Failed | None = None
        self.size = 0
        self._ms = 0.0

    def begins_anew(self, draft: Draft) -> bool:
        """Return whether a draft is of another beginning: its engine was lost, and a new one has taken the request over."""
        if draft.frame is None or round(draft.frame.ms, 1) >= self._ms:
            return False
        self.frames.clear()
        self.size, self._ms = 0, 0.0
        return True

    def add(self, draft: Draft) -> bytes | None:
        """Keep the frame of a draft, and return it as JSON; None if it has none."""
        if (found := recording.picture(draft, choices=self.size < _FULL_BYTES)) is None:
            return None
        data = msgspec.json.encode(found)
        self._ms = found.ms
        self.frames.append(msgspec.Raw(data))
        self.size += len(data)
        return data


class Run:
    """A fill, and the left-to-right one beside it. running: events may still come.

    cancel: ends it early. on_idle: called as the last listener goes.
    """

    def __init__(
        self, request: FillRequest, name: str, source: Source, model: str, device: str, target: Target
    ) -> None:
        self.id = token_urlsafe(9)
        self.source: Source = source
        self.target = target
        self.begun = recording.begun(request, name, model, device)
        self.main, self.beside = Track(), Track()
        self.beside_model: str | None = None
        self.running = True
        self.cancel: Callable[[], object] = lambda: None
        self.on_idle: Callable[[], object] = lambda: None
        self._events: list[bytes] = []
        self._news = asyncio.Event()
        self._listeners = 0
        self._say("begun", self.begun)

    @property
    def size(self) -> int:
        """Return about how many bytes it keeps."""
        return len(self.target.text) + 2 * (self.main.size + self.beside.size)

    def as_value(self) -> dict[str, object]:
        """Return what a list of runs says of it."""
        return {"id": self.id, "name": self.begun.name, "source": self.source, "running": self.running}

    def drafted(self, draft: Draft) -> None:
        """Take a draft of the main fill."""
        if self.main.outcome is None and self.main.begins_anew(draft):
            self._say("begun", self.begun)
        if self.main.outcome is None and (data := self.main.add(draft)) is not None:
            self._say("frame", msgspec.Raw(data))

    def done(self, end: Outcome | Failed) -> None:
        """Take the end of the main fill, unless it has one."""
        if self.main.outcome is None:
            self.main.outcome = end
            self._say("done", end)

    def begin_beside(self, model: str) -> None:
        """Begin the fill beside it."""
        self.beside_model = model
        self._say("beside-begun", {"model": model})

    def drafted_beside(self, draft: Draft) -> None:
        """Take a draft of the fill beside it."""
        if self.beside.outcome is None and self.beside.begins_anew(draft):
            self._say("beside-begun", {"model": self.beside_model})
        if self.beside.outcome is None and (data := self.beside.add(draft)) is not None:
            self._say("beside-frame", msgspec.Raw(data))

    def done_beside(self, end: Outcome | Failed) -> None:
        """Take the end of the fill beside it."""
        if self.beside.outcome is None:
            self.beside.outcome = end
            self._say("beside-done", end)

    def end(self) -> None:
        """Say that nothing more comes."""
        if self.running:
            self.running = False
            self._say("end", {})

    def recording(self) -> bytes:
        """Return all of it as JSON."""
        beside = None
        if self.beside_model is not None:
            beside = recording.beside_value(self.beside_model, self.beside.frames, self.beside.outcome)
        return recording.as_json(self.begun, self.main.frames, self.main.outcome, beside)

    async def events(self) -> AsyncIterator[bytes]:
        """Yield all server-sent events from the first one on."""
        at = 0
        self._listeners += 1
        try:
            while True:
                while at < len(self._events):
                    at += 1
                    yield self._events[at - 1]
                if not self.running:
                    return
                await self._news.wait()
        finally:
            self._listeners -= 1
            if not self._listeners:
                self.on_idle()

    def _say(self, name: str, value: object) -> None:
        self._events.append(f"event: {name}\ndata: ".encode() + msgspec.json.encode(value) + b"\n\n")
        self._news.set()
        self._news = asyncio.Event()


class Runs:
    """The last runs, the newest last. on_begin: called with each new one. silent_seconds: then an engine is given up."""

    def __init__(self, on_begin: Callable[[Run], None], silent_seconds: float = SILENT_SECONDS) -> None:
        self._on_begin, self._silent = on_begin, silent_seconds
        self._kept: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    def get(self, identity: str) -> Run | None:
        """Return a run that is still kept."""
        return self._kept.get(identity)

    def as_values(self) -> list[dict[str, object]]:
        """Return what a list says of all of them."""
        return [run.as_value() for run in self._kept.values()]

    def add(self, run: Run) -> None:
        """Keep a run and tell of it; the oldest ones that have ended make room."""
        self._kept[run.id] = run
        for old in [each for each in self._kept.values() if not each.running]:
            if len(self._kept) <= KEPT and sum(each.size for each in self._kept.values()) <= KEPT_BYTES:
                break
            del self._kept[old.id]
        self._on_begin(run)

    def start(self, run: Run, engine: Engine, request: FillRequest, *, beside: bool) -> None:
        """Run a fill, and the left-to-right one after it. Raises PalimpsestError if too many are under way."""
        if self._ended:
            raise PalimpsestError(ENDING)
        if len(self._tasks) >= MOST_RUNNING:
            raise PalimpsestError(f"{MOST_RUNNING} fills are under way already; wait for one of them.")
        task = asyncio.get_running_loop().create_task(self._play(run, engine, request, beside))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        run.cancel = run.on_idle = task.cancel
        self.add(run)

    def end(self) -> None:
        """End all runs, each with a sentence, and start no more."""
        self._ended = True
        for run in self._kept.values():
            if run.running:
                run.done(Failed(ENDING))
                run.cancel()
                run.end()

    async def _play(self, run: Run, engine: Engine, request: FillRequest, beside: bool) -> None:
        try:
            end = await self._filled(engine, request, run.drafted)
            told = engine.status()  # of a model that has been loaded by now
            run.begun = msgspec.structs.replace(run.begun, model=told.model, device=told.device)
            run.done(end)
            if beside and isinstance(run.main.outcome, Outcome):
                run.begin_beside(told.model)
                run.done_beside(await self._filled(engine, left_to_right(request), run.drafted_beside))
        finally:
            run.done(Failed(CANCELLED))
            if run.beside_model is not None:
                run.done_beside(Failed(CANCELLED))
            run.end()

    async def _filled(
        self, engine: Engine, request: FillRequest, on_draft: Callable[[Draft], None]
    ) -> Outcome | Failed:
        """Return how a fill ends. An error of the engine is an end, too, and so is an engine that says nothing any more."""
        loop, sign = asyncio.get_running_loop(), monotonic()
        job: Job | None = None

        def drafted(draft: Draft) -> None:
            nonlocal sign
            sign = monotonic()
            on_draft(draft)

        def post(draft: Draft) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(drafted, draft)

        try:
            job = engine.submit(request, post)
            done = asyncio.wrap_future(job.future)
            done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # else asyncio logs it
            while not done.done():
                await asyncio.wait({done}, timeout=_LOOK_SECONDS)
                if engine.status().state in ("starting", "loading"):
                    sign = monotonic()
                if not done.done() and monotonic() - sign >= self._silent:
                    return Failed(f"The engine has shown no sign of life for {self._silent:g} s.")
            return recording.outcome(done.result())
        except FillCancelled:
            return Failed(CANCELLED)
        except PalimpsestError as error:
            return Failed(str(error))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # no error of an engine may end the server
            logger.exception("a fill of the page failed")
            return Failed(f"The engine failed: {type(error).__name__}.")
        finally:
            if job is not None:
                job.cancel()
