"""Run an engine on one thread of this process: requests queue, the newest of a document wins, speculation yields.

Knows no model: an `Answering` does the work, and is made and used on that thread only.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from palimpsest_engine.engine import EngineStatus, Job
from palimpsest_engine.errors import FillCancelled, PalimpsestError
from palimpsest_engine.request import Draft, Fill, FillRequest

log = logging.getLogger("palimpsest.engine")
OnDraft = Callable[[Draft], None]


class Answering(Protocol):
    """Answers one request after the other, on one thread. status: for everyone else; changes with each answer."""

    @property
    def status(self) -> EngineStatus:
        """Return the state between two requests."""
        ...

    def open(self) -> None:
        """Load or reach the model. Raises nothing: a failure goes into the status, and into every answer."""
        ...

    def rehearse(self, cancelled: Callable[[], bool]) -> None:
        """Prepare for the first request while nobody waits."""
        ...

    def fill(self, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
        """Yield drafts, then the `Fill`. Raises a `PalimpsestError`; `FillCancelled` soon after `cancelled()` is true."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...


class _Failed:
    """Answers every request with one error."""

    def __init__(self, error: PalimpsestError) -> None:
        self._error = error
        self.status = EngineStatus("error", str(error), exit_code=error.exit_code)

    def open(self) -> None:
        """Do nothing."""

    def rehearse(self, cancelled: Callable[[], bool]) -> None:
        """Do nothing."""

    def fill(self, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
        """Raise the error."""
        raise type(self._error)(str(self._error))  # an exception that is raised again and again grows

    def close(self) -> None:
        """Do nothing."""


class QueuedEngine:
    """Makes and opens an `Answering` on `warm` or the first `submit`, and fills one request after the other.

    opening, working: sentences for the status while it is opened and while it fills. thread: a name for the thread.
    """

    def __init__(self, make: Callable[[], Answering], opening: str, working: str, thread: str) -> None:
        self._make, self._opening, self._working, self._name = make, opening, working, thread
        self._queue: queue.PriorityQueue[tuple[int, int, Job | None, OnDraft | None]] = queue.PriorityQueue()
        self._count = itertools.count()
        self._running: Job | None = None
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str], Job] = {}
        self._status = EngineStatus("starting", "No fill was asked for yet.")
        self._thread: threading.Thread | None = None

    def status(self) -> EngineStatus:
        """Return the state: loading, ready, busy, or in error and why."""
        return self._status

    def warm(self) -> None:
        """Begin to load or reach the model, if that has not begun."""
        with self._lock:
            if self._thread is None and self._status.state != "closed":
                self._status = EngineStatus("loading", self._opening)
                # A daemon, so that no fill keeps a process alive after its editor has died.
                self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread.start()

    def submit(self, request: FillRequest, on_draft: OnDraft | None = None) -> Job:
        """Queue a request; cancel an unfinished one for the same document.

        Speculative requests wait until nothing else does, and end when anything else comes.
        """
        job = Job(request)
        with self._lock:
            if self._status.state == "closed":
                job.future.set_exception(FillCancelled("The engine is closed."))
                return job
            if request.document:
                if older := self._latest.get(request.identity):
                    older.cancel()
                self._latest[request.identity] = job
            if not request.speculative and self._running is not None and self._running.request.speculative:
                self._running.cancel()
            self._queue.put((int(request.speculative), next(self._count), job, on_draft))
        self.warm()
        return job

    def close(self) -> None:
        """Cancel everything and let the thread end."""
        with self._lock:
            self._status = EngineStatus("closed", "The engine is closed.")
            for job in self._latest.values():
                job.cancel()
            self._queue.put((-1, next(self._count), None, None))

    def _serve(self) -> None:
        """Load, warm up if nobody waits, then serve the queue. A failure to load answers every request."""
        filler = self._opened()
        self._become(filler.status)
        if self._queue.empty() and filler.status.state == "ready":
            try:
                filler.rehearse(lambda: not self._queue.empty())
            except BaseException:
                log.warning("a fill to warm up failed; the next one may, too", exc_info=True)
            self._become(filler.status)
        while True:
            with self._lock:
                self._running = None
            _, _, job, on_draft = self._queue.get()
            if job is None:
                # The jobs behind are cancelled: answer them.
                while not self._queue.empty():
                    if (late := self._queue.get()[2]) is not None:
                        late.future.set_exception(FillCancelled("The engine is closed."))
                filler.close()
                return
            with self._lock:
                self._running = job
            if (now := filler.status).state == "ready":
                self._become(replace(now, state="busy", reason=now.reason or self._working))
            self._answer(filler, job, on_draft)

    def _opened(self) -> Answering:
        """Make and open what answers; what raises all the same answers every request with an error."""
        try:
            filler = self._make()
            filler.open()
        except BaseException as error:
            log.exception("loading failed")
            return _Failed(PalimpsestError(f"The engine could not start: {error}"))
        return filler

    def _become(self, status: EngineStatus) -> None:
        with self._lock:
            if self._status.state != "closed":
                self._status = status

    def _answer(self, filler: Answering, job: Job, on_draft: OnDraft | None) -> None:
        """Give the job exactly one result: a fill, or the error that ended it. The status is that after it, by then."""
        try:
            if job.cancelled.is_set():
                raise FillCancelled("The fill was cancelled.")
            fill: Fill | None = None
            for event in filler.fill(job.request, job.cancelled.is_set):
                if isinstance(event, Fill):
                    fill = event
                elif on_draft is not None:
                    on_draft(event)
            assert fill is not None
            self._become(filler.status)
            job.future.set_result(fill)
        except PalimpsestError as error:
            self._become(filler.status)
            job.future.set_exception(error)
        except BaseException as error:  # a panic in Rust is no Exception; the thread is for the next fill, too
            log.exception("a fill failed")
            self._become(filler.status)
            job.future.set_exception(PalimpsestError(f"The fill failed: {error}"))
        finally:
            with self._lock:
                if self._latest.get(job.request.identity) is job:
                    del self._latest[job.request.identity]
