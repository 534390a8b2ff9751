"""Let one engine complete what is typed and another one answer edits; the callers see a single engine.

Each has a thread and a model of its own. The one for edits loads nothing until somebody asks for an edit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from palimpsest_engine.engine import Engine, EngineStatus, Job
from palimpsest_engine.request import Draft, FillRequest


class TwoEngines:
    """Sends each request to the engine of its role. A newer request for a document ends an older one with either engine."""

    def __init__(self, complete: Engine, edit: Engine) -> None:
        self.complete, self.edit = complete, edit
        self._latest: dict[str, Job] = {}
        self._lock = threading.Lock()

    def status(self) -> EngineStatus:
        """Return the state of the engine that is at work, else of the one that completes; names both models."""
        told, edits = self.complete.status(), self.edit.status()
        if edits.state == "busy" and told.state == "ready":
            told = replace(told, state="busy", reason=edits.reason)
        names = [name for name in (told.model, f"edits: {edits.model}" if edits.model else "") if name]
        return replace(told, model=", ".join(names), denoises=edits.denoises)

    def warm(self) -> None:
        """Load the model that completes."""
        self.complete.warm()

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        """Queue a request with the engine of its role."""
        with self._lock:
            if request.document and (older := self._latest.get(request.document)):
                older.cancel()
            job = (self.edit if request.edit else self.complete).submit(request, on_draft)
            if request.document:
                self._latest[request.document] = job
                job.future.add_done_callback(lambda _: self._done(job))
            return job

    def close(self) -> None:
        """Close both."""
        self.complete.close()
        self.edit.close()

    def _done(self, job: Job) -> None:
        # A job may be done before `submit` has returned, on this very thread: the lock is not waited for.
        if self._latest.get(job.request.document) is job:
            self._latest.pop(job.request.document, None)
