"""The state of one connection, on the event loop: settings, engine, documents, jobs, suggestions, status.

`inline` and `commands` do the work on it; `app` binds it to the wire.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, ParamSpec, Protocol, TypeVar

from palimpsest_engine import Engine, EngineSettings, EngineStatus, Excerpt, Outline, PalimpsestError
from palimpsest_server import settings
from palimpsest_server.documents import folders
from palimpsest_server.documents.store import Documents, Snapshot
from palimpsest_server.documents.uris import path_of
from palimpsest_server.protocol.methods import STATUS
from palimpsest_server.session import jobs
from palimpsest_server.session.debounce import Pace
from palimpsest_server.session.recent_fills import Fills
from palimpsest_server.session.suggestions import Suggestions
from palimpsest_server.session.surroundings import Surroundings
from palimpsest_server.status import board, log
from palimpsest_server.status.board import Pauses
from palimpsest_server.status.log import Requests
from palimpsest_server.status.status_file import Live

logger = logging.getLogger(__name__)

EngineFactory = Callable[[EngineSettings], Engine]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_WATCH_SECONDS = 0.2
_LOST = "the document is out of step: a change could not be read; reopen it"
_TELL_SECONDS = 0.1
_HUNG = "the engine shows no sign of life; restarting the server may help"
_LOADING, _DENOISING = "the checkpoint is still loading", "still denoising"
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
        self.recent = Fills()
        self.jobs = jobs.Jobs()
        self.pace = Pace()
        self.pauses = Pauses()
        self.requests = Requests()
        self.around = Surroundings(self.documents)
        self.folders: dict[str, Path] = {}
        self.announced: tuple[str, int] | None = None  # the document and version whose final draft was just shown
        self.board = board.Board(
            self.engine_status, lambda: not self.settings.enable, self.pauses, self.requests, self.jobs.counters
        )
        self.live = Live(self.board.status, self.requests)
        self.engine: Engine | None = None
        self._engine_factory = engine_factory
        self._engine_fault = ""
        self._initial: object = None
        self._configured: object = None
        self._by_folder: dict[str, object] = {}
        self._in_folders: dict[str, settings.Settings] = {}
        self._said: set[str] = set()
        self._warm = self._closed = False
        self._watcher: asyncio.Task[None] | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._told = -inf

    # Settings and engine

    def initialize(self, options: object) -> None:
        """Take up `initializationOptions`: an object with the key `palimpsest` and no other."""
        self._initial, strange = settings.section_of(options)
        self._configure(strange)

    def configure(self, section: object, by_folder: Mapping[str, object] | None = None) -> None:
        """Take up the section `palimpsest` of the configuration, which ranks above `initializationOptions`; and what it is
        for single workspace folders, by their URIs; None leaves those as they are."""
        self._configured = section
        self._by_folder = self._by_folder if by_folder is None else dict(by_folder)
        self._configure()

    def work_in(self, workspace: Mapping[str, Path]) -> None:
        """The workspace has these folders now, by their URIs."""
        self.folders = dict(workspace)
        self.live.folders = tuple(self.folders)
        self.around.work_in(self.folders, self.settings.ignore)

    def settings_for(self, document: Snapshot) -> settings.Settings:
        """The settings that hold for a document: those of its folder, where that has any of its own."""
        return folders.of_document(document.uri, self._in_folders, self.settings)

    def _configure(self, strange: tuple[str, ...] = ()) -> None:
        """Parse all sources anew; each problem is shown once."""
        parsed, problems = settings.parse(self._initial, self._configured)
        in_folders = dict[str, settings.Settings]()
        for folder, section in self._by_folder.items():
            in_folders[folder], more = settings.parse(self._initial, self._configured, section)
            problems += more
        if all(each == parsed for each in in_folders.values()):
            in_folders = {}  # asking for them has changed nothing
        for problem in (*strange, *problems):
            if problem not in self._said:
                self._said.add(problem)
                self.client.warn(f"Palimpsest: {problem}")
        before, self.settings = (self.settings, self._in_folders), parsed
        self._in_folders = in_folders
        if before == (parsed, in_folders):
            return
        log.configure(parsed.log_level, parsed.log_text)
        self.requests.log_text = parsed.log_text
        self.work_in(self.folders)
        self.suggestions.forget()
        self.jobs.end_all("the settings changed")
        if self.engine is not None and before[0].engine != parsed.engine:
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
        self.live.close()
        self.around.close()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._telling is not None:
            self._telling.cancel()
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
            self._engine_fault = f"the engine cannot be opened: {type(error).__name__}"

    def engine_status(self) -> EngineStatus:
        """What the engine says of itself, or why there is none."""
        if self.engine is not None:
            told = self.engine.status()
            if self.jobs.hung:
                return replace(
                    told, state="error", reason="The engine shows no sign of life; restarting the server may help."
                )
            # The engine's thread may not have seen a job of ours yet.
            return replace(told, state="busy") if told.state == "ready" and len(self.jobs) else told
        return EngineStatus("error" if self._engine_fault else "starting", self._engine_fault)

    # Documents

    def closed(self, uri: str) -> None:
        """A document is no longer open."""
        self.jobs.end(uri, "the document was closed")
        self.suggestions.forget(uri)
        self.recent.forget(uri)
        self.pace.forget(uri)
        self.around.forget(uri)

    def lose_track(self, uri: str | None) -> bool:
        """A change could not be read, of this document or notebook, or of nobody knows which; whether that is news."""
        lost = self.documents.lose(uri)
        for each in lost:
            self.jobs.end(each, _LOST)
        return bool(lost)

    def pause_before_asking(self, document: Snapshot) -> float:
        """Seconds to wait for more typing before an automatic request may cost a pass of the model."""
        fixed = self.settings.debounce_ms
        delay = self.pace.delay(document.uri, monotonic(), None if fixed is None else fixed / 1000)
        if self.settings.drafts or fixed is not None:
            return delay
        # This client is not told when the result is there: leave time to answer the request itself.
        return min(delay, max(0.0, self.settings.answer_within_ms / 1000 - self.jobs.usual_seconds))

    async def outline(self, document: Snapshot, text: str) -> Outline:
        """What stands where in (a window of) a document; to be asked off the event loop."""
        return self.around.outline(document, text)

    async def off_loop(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """As `Surroundings.off_loop`."""
        return await self.around.off_loop(call, *args, **kwargs)

    async def look(self, document: Snapshot, text: str, offset: int, *, automatic: bool) -> str:
        """Why nothing is to be offered at an offset of (a window of) a document, or ""."""
        return await self.around.look(document, text, offset, self.settings_for(document), automatic=automatic)

    async def context(self, document: Snapshot, offset: int) -> tuple[Excerpt, ...]:
        """What the model may see of other places for an offset of a document."""
        return await self.around.excerpts(document, offset, self.settings_for(document), self.engine_status())

    # What can be said about the present

    def refusal(self, document: Snapshot | None) -> str:
        """Why nothing can be done for this document, or "" if something can."""
        if document is None:
            return "the document is not open"
        if self.documents.lost(document.uri):
            return _LOST
        here = self.settings_for(document)
        if not here.enable:
            return "the setting palimpsest.enable is false"
        if document.language in here.disabled_languages:
            return f"palimpsest.disabledLanguages has {document.language}"
        if glob := folders.covering(here.disabled_folders, path_of(document.uri)):
            return f"palimpsest.disabledFolders has {glob}"
        if reason := self.pauses.reason(document.uri, document.language):
            return reason
        if self.engine is None:
            return self._engine_fault or "the server is starting"
        if self.jobs.hung:
            return _HUNG
        return ""

    def end_refused(self) -> None:
        """End the jobs of documents in which nothing is to be done any more."""

        def why(uri: str) -> str:
            document = self.documents.snapshot(uri)
            return self.refusal(document) if document else ""

        self.jobs.end_those(why)

    def untrained(self, document: Snapshot) -> str:
        """Why the checkpoint has nothing to say in this document's language, or "" if it may have."""
        told = self.engine_status()
        if told.languages and document.language not in told.languages:
            return f"the checkpoint {told.model} was trained on {', '.join(told.languages)} only"
        return ""

    def waiting_for(self) -> str:
        """Why an answer is not there yet."""
        loading = self.engine_status().state in ("starting", "loading")
        return _LOADING if loading else _DENOISING

    def came_to_nothing(self, reason: str) -> None:
        """What an empty answer had left behind is done, and there is no suggestion: who looks is to find the reason."""
        self.board.came_to_nothing((_LOADING, _DENOISING), reason)

    def answered(self, request: str, reason: str = "", source: str = "", text: str = "") -> None:
        """A request was answered; with nothing, if there is a reason. source: where the text was from."""
        self.requests.answered(request, reason, source, text)
        if reason:
            self.board.empty(request, reason)
        else:
            self.board.offered()
        self.publish()
        self.live.changed()

    def publish(self) -> None:
        """Tell the client the status if it is new, and watch the engine while its state is a passing one."""
        if self._closed or self._telling is not None:
            return
        wait = self._told + _TELL_SECONDS - monotonic()
        if wait > 0 and {self.board.state, self.board.told_state} <= {"ready", "busy"}:
            # Busy and ready again at each keystroke is no news; what stays is told a moment later.
            self._telling = asyncio.get_running_loop().call_later(wait, self._tell_late)
            return
        state = self._tell()
        if state in _PASSING and self._warm and (self._watcher is None or self._watcher.done()):
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def _tell_late(self) -> None:
        self._telling = None
        self.publish()

    async def _watch(self) -> None:
        """An engine cannot call back about its state, so look, and only while it is about to change."""
        while self._tell() in _PASSING:
            await asyncio.sleep(_WATCH_SECONDS)

    def _tell(self) -> str:
        now = self.board.status()
        if self.board.news() is not None:
            self.client.notify(STATUS, now)
            self._told = monotonic()
            self.live.changed()
        if now["state"] == "error" and now["reason"] not in self._said:
            self._said.add(now["reason"])
            self.client.complain(f"Palimpsest: {now['reason']}")
        return str(now["state"])
