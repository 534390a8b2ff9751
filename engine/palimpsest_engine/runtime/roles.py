"""Let one engine complete what is typed and another one answer edits; the callers see a single engine.

Each has a thread and a model of its own. The one for edits loads nothing until an edit is asked for.
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
        self._latest: dict[tuple[str, str], Job] = {}
        self._lock = threading.RLock()  # a job may be done before `submit` has returned, on that very thread

    def status(self) -> EngineStatus:
        """Return the state of the engine that completes; names both models, and says what the other one is busy with."""
        told, edits = self.complete.status(), self.edit.status()
        if told.state == "ready" and edits.state in ("busy", "loading"):
            told = replace(told, state="busy", reason=edits.reason)
        if told.state == "ready" and edits.state == "error":
            told = replace(told, reason=told.reason or f"Edits: {edits.reason}")
        names = [name for name in (told.model, f"edits: {edits.model}" if edits.model else "") if name]
        return replace(
            told,
            model=", ".join(names),
            denoises=edits.denoises,
            edits=edits.edits,
            instructs=edits.instructs,
            edit_languages=edits.languages,
        )

    def warm(self) -> None:
        """Load the model that completes."""
        self.complete.warm()

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        """Queue a request with the engine of its role."""
        with self._lock:
            if request.document and (older := self._latest.get(request.identity)):
                older.cancel()
            job = (self.edit if request.edit else self.complete).submit(request, on_draft)
            if request.document:
                self._latest[request.identity] = job
                job.future.add_done_callback(lambda _: self._done(job))
            return job

    def close(self) -> None:
        """Close both."""
        self.complete.close()
        self.edit.close()

    def _done(self, job: Job) -> None:
        with self._lock:
            if self._latest.get(job.request.identity) is job:
                del self._latest[job.request.identity]
