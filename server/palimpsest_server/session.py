"""The state of one connection, on the event loop: settings, engine, documents, jobs, suggestions, status.

`inline` and `selection` do the work on it; `app` binds it to the wire.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from palimpsest_engine import Engine, EngineSettings, EngineStatus, PalimpsestError
from palimpsest_server import jobs, settings, status
from palimpsest_server.cache import Suggestions
from palimpsest_server.documents import Documents, Snapshot

logger = logging.getLogger(__name__)

EngineFactory = Callable[[EngineSettings], Engine]

_WATCH_SECONDS = 0.2
_PASSING = ("starting", "loading", "busy")


class Client(Protocol):
    """What a session says to its client without being asked."""

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""

    def warn(self, message: str) -> None:
        """Show a warning."""

    def complain(self, message: str) -> None:
        """Show an error."""


class Session:
    """Everything a handler needs. No engine is opened before `open`."""

    def __init__(self, engine_factory: EngineFactory, client: Client) -> None:
        self.client = client
        self.settings = settings.Settings()
        self.documents = Documents()
        self.suggestions = Suggestions()
        self.jobs = jobs.Jobs()
        self.board = status.Board(self._engine_status, lambda: not self.settings.enable)
        self.engine: Engine | None = None
        self._engine_factory = engine_factory
        self._engine_fault = ""
        self._initial: object = None
        self._configured: object = None
        self._said: set[str] = set()
        self._warm = self._closed = False
        self._watcher: asyncio.Task[None] | None = None

    # Settings and engine

    def initialize(self, options: object) -> None:
        """Take up `initializationOptions`: an object with the key `palimpsest` and no other."""
        self._initial, strange = settings.section_of(options)
        self._configure(strange)

    def configure(self, section: object) -> None:
        """Take up the section `palimpsest` of the configuration; it ranks above `initializationOptions`."""
        self._configured = section
        self._configure()

    def _configure(self, strange: tuple[str, ...] = ()) -> None:
        """Parse both sources anew; each problem is shown once."""
        parsed, problems = settings.parse(self._initial, self._configured)
        for problem in (*strange, *problems):
            if problem not in self._said:
                self._said.add(problem)
                self.client.warn(f"Palimpsest: {problem}")
        before, self.settings = self.settings, parsed
        if before == parsed:
            return
        self.suggestions.forget()
        self.jobs.end_all("the settings changed")
        if self.engine is not None and before.engine != parsed.engine:
            self.engine.close()
            self.engine = None
        if self._warm:
            self.warm()

    def warm(self) -> None:
        """Let the engine load its checkpoint, unless the user has switched everything off."""
        if self._closed:
            return
        self._warm = True
        if self.settings.enable:
            self.open()
            if self.engine is not None:
                self.engine.warm()
        self.publish()

    def open(self) -> None:
        """Open the engine, if that has not been done; cheap, nothing is loaded."""
        if self.engine is None:
            self._open_engine()

    def close(self) -> None:
        """Stop every job and the engine, for good."""
        self._closed = True
        self.jobs.end_all("the server is shutting down")
        if self._watcher is not None:
            self._watcher.cancel()
        if self.engine is not None:
            self.engine.close()

    def _open_engine(self) -> None:
        self._engine_fault = ""
        try:
            self.engine = self._engine_factory(self.settings.engine)
        except PalimpsestError as error:
            self._engine_fault = str(error)
        except Exception as error:
            logger.exception("the engine cannot be opened")
            self._engine_fault = f"the engine cannot be opened: {type(error).__name__}: {error}"

    def _engine_status(self) -> EngineStatus:
        if self.engine is not None:
            told = self.engine.status()
            # The engine's thread may not have seen a job of ours yet.
            return replace(told, state="busy") if told.state == "ready" and len(self.jobs) else told
        return EngineStatus("error" if self._engine_fault else "starting", self._engine_fault)

    # What can be said about the present

    def refusal(self, document: Snapshot | None) -> str:
        """Why nothing can be done for this document, or "" if something can."""
        if document is None:
            return "the document is not open"
        if not self.settings.enable:
            return "the setting palimpsest.enable is false"
        if document.language in self.settings.disabled_languages:
            return f"palimpsest.disabledLanguages has {document.language}"
        if self.engine is None:
            return self._engine_fault or "the server is starting"
        return ""

    def untrained(self, document: Snapshot) -> str:
        """Why the checkpoint has nothing to say in this document's language, or "" if it may have."""
        told = self._engine_status()
        if told.languages and document.language not in told.languages:
            return f"the checkpoint {told.model} was trained on {', '.join(told.languages)} only"
        return ""

    def waiting_for(self) -> str:
        """Why an answer is not there yet."""
        loading = self._engine_status().state in ("starting", "loading")
        return "the checkpoint is still loading" if loading else "still denoising"

    def answered(self, request: str, reason: str = "") -> None:
        """A request was answered; with nothing, if there is a reason."""
        if reason:
            self.board.empty(request, reason)
        else:
            self.board.offered()
        self.publish()

    def publish(self) -> None:
        """Tell the client the status if it is new, and watch the engine while its state is a passing one."""
        if self._closed:
            return
        state = self._tell()
        if state in _PASSING and self._warm and (self._watcher is None or self._watcher.done()):
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """An engine cannot call back about its state, so look, and only while it is about to change."""
        while self._tell() in _PASSING:
            await asyncio.sleep(_WATCH_SECONDS)

    def _tell(self) -> str:
        now = self.board.status()
        if self.board.news() is not None:
            self.client.notify(status.METHOD, now)
        if now["state"] == "error" and now["reason"] not in self._said:
            self._said.add(now["reason"])
            self.client.complain(f"Palimpsest: {now['reason']}")
        return str(now["state"])
