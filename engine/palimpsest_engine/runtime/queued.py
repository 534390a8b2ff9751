"""Run an engine on one thread of this process: requests wait for their turn, the newest of a document wins.

Knows no model: an `Answering` does the work, and is made and used on that thread only. `turns.py` says whose turn it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from palimpsest_engine.engine import EngineStatus, Job
from palimpsest_engine.errors import FillCancelled, PalimpsestError
from palimpsest_engine.request import Draft, Fill, FillRequest
from palimpsest_engine.runtime.turns import OnDraft, Turns, Waiting

log = logging.getLogger("palimpsest.engine")


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
        self._lock = threading.Condition()  # for everything below; told when there is something to do
        self._turns = Turns()
        self._running: Job | None = None
        self._status = EngineStatus("starting", "No fill was asked for yet.")
        self._thread: threading.Thread | None = None

    def status(self) -> EngineStatus:
        """Return the state: loading, ready, busy, or in error and why."""
        return self._status

    def warm(self) -> None:
        """Begin to load or reach the model, if that has not begun."""
        with self._lock:
            if self._thread is None and not self._closed:
                self._status = EngineStatus("loading", self._opening)
                # A daemon, so that no fill keeps a process alive after its editor has died.
                self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread.start()

    def submit(self, request: FillRequest, on_draft: OnDraft | None = None) -> Job:
        """Let a request wait for its turn; cancel an unfinished one for the same document.

        Speculative requests wait until nothing else does, and end when anything else comes. What does not wait any more is
        answered on this thread.
        """
        job = Job(request)
        with self._lock:
            if self._closed:
                job.future.set_exception(FillCancelled("The engine is closed."))
                return job
            left = self._turns.put(job, on_draft)
            if self._running is not None and gives_way(self._running.request, request):
                self._running.cancel()
            self._lock.notify()
        for each, error in left:
            each.future.set_exception(error)
        self.warm()
        return job

    def close(self) -> None:
        """Cancel everything and let the thread end."""
        with self._lock:
            self._status = EngineStatus("closed", "The engine is closed.")
            left = self._turns.clear()
            if self._running is not None:
                self._running.cancel()
            self._lock.notify()
        for job in left:
            job.future.set_exception(FillCancelled("The engine is closed."))

    @property
    def _closed(self) -> bool:
        return self._status.state == "closed"

    def _serve(self) -> None:
        """Load, warm up if nobody waits, then give everybody their turn. A failure to load answers every request."""
        filler = self._opened()
        self._become(filler.status)
        if not self._wanted() and filler.status.state == "ready":
            try:
                filler.rehearse(self._wanted)
            except BaseException:
                log.warning("a fill to warm up failed; the next one may, too", exc_info=True)
            self._become(filler.status)
        while (turn := self._next()) is not None:
            if (now := filler.status).state == "ready":
                self._become(replace(now, state="busy", reason=now.reason or self._working))
            self._answer(filler, *turn)
        filler.close()

    def _next(self) -> Waiting | None:
        """Wait for the next turn; None when the engine is closed."""
        with self._lock:
            self._running = None
            while not self._closed:
                if turn := self._turns.take():
                    self._running = turn.job
                    return turn
                self._lock.wait()
        return None

    def _wanted(self) -> bool:
        """Return whether there is something to do for the thread."""
        with self._lock:
            return bool(self._turns) or self._closed

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
            if not self._closed:
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


def gives_way(running: FillRequest, newer: FillRequest) -> bool:
    """Return whether a running request ends for a newer one: it is for the same document, or nobody waits for it yet."""
    same = bool(newer.document) and running.identity == newer.identity
    return same or (running.speculative and not newer.speculative)
