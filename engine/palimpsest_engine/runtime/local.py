"""Run the engine in this process: one thread owns the model, requests queue, the newest of a document wins.

torch and transformers are imported on that thread, never on the caller's.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import replace

from palimpsest_engine.engine import EngineSettings, EngineStatus, Job
from palimpsest_engine.errors import FillCancelled, PalimpsestError
from palimpsest_engine.request import Draft, Fill, FillRequest
from palimpsest_engine.runtime.fallback import FallbackFiller

log = logging.getLogger("palimpsest.engine")
OnDraft = Callable[[Draft], None]


class LocalEngine:
    """Loads a checkpoint on `warm` or the first `submit` and fills one request after the other."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self._queue: queue.PriorityQueue[tuple[int, int, Job | None, OnDraft | None]] = queue.PriorityQueue()
        self._count = itertools.count()
        self._running: Job | None = None
        self._lock = threading.Lock()
        self._latest: dict[str, Job] = {}
        self._status = EngineStatus("starting", "No fill was asked for yet.")
        self._thread: threading.Thread | None = None

    def status(self) -> EngineStatus:
        """Return the state: loading, ready, busy, or in error and why."""
        return self._status

    def warm(self) -> None:
        """Begin loading the checkpoint, if that has not begun."""
        with self._lock:
            if self._thread is None and self._status.state != "closed":
                self._status = EngineStatus("loading", "The checkpoint is being loaded.")
                # A daemon, so that no fill keeps a process alive after its editor has died.
                self._thread = threading.Thread(target=self._own_the_model, name="palimpsest-model", daemon=True)
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
                if older := self._latest.get(request.document):
                    older.cancel()
                self._latest[request.document] = job
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

    def _own_the_model(self) -> None:
        """Load, warm up if nobody waits, then serve the queue. After a failed load, answer every request with its error."""
        filler = FallbackFiller(self.settings)
        filler.open()
        self._become(filler.status)
        if self._queue.empty() and filler.status.state == "ready":
            filler.rehearse(lambda: not self._queue.empty())
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
                self._become(replace(now, state="busy", reason=now.reason or "Denoising."))
            self._answer(filler, job, on_draft)
            self._become(filler.status)

    def _become(self, status: EngineStatus) -> None:
        with self._lock:
            if self._status.state != "closed":
                self._status = status

    def _answer(self, filler: FallbackFiller, job: Job, on_draft: OnDraft | None) -> None:
        """Give the job exactly one result: a fill, or the error that ended it."""
        try:
            if job.cancelled.is_set():
                raise FillCancelled("The fill was cancelled.")
            for event in filler.fill(job.request, job.cancelled.is_set):
                if isinstance(event, Fill):
                    job.future.set_result(event)
                elif on_draft is not None:
                    on_draft(event)
        except PalimpsestError as error:
            job.future.set_exception(error)
        except Exception as error:
            log.exception("a fill failed")
            job.future.set_exception(PalimpsestError(f"The fill failed: {error}"))
        finally:
            with self._lock:
                if self._latest.get(job.request.document) is job:
                    del self._latest[job.request.document]
