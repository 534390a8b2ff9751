"""Extend pygls' server by a session, and by the messages that we send of our own accord; knows nothing of fills."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import FeatureNotificationError
from pygls.lsp.server import LanguageServer

from palimpsest_engine import __version__
from palimpsest_server.protocol.lifecycle import Protocol
from palimpsest_server.status.visible import visible

if TYPE_CHECKING:
    from palimpsest_server.session.engine_slot import EngineFactory
    from palimpsest_server.session.session import Session
    from palimpsest_server.status.client_log import ClientLog

logger = logging.getLogger(__name__)

NOTEBOOKS = types.NotebookDocumentSyncOptions(
    notebook_selector=[types.NotebookDocumentFilterWithNotebook(notebook="*")]
)

# Modules that a session and its first request need, each after those that it imports, so that no step is long.
_REST = (
    "session.jobs",
    "status.status_file",
    "context.gitconfig",
    "context.gitignore",
    "context.ignore",
    "context.extracts",
    "context.choose",
    "session.debounce",
    "session.surroundings",
    "session.next_edits",
    "session.conversations",
    "session.session",
    "session.permission",
    "features.inline_completion",
    "features.next_edit.answer",
    "features.code_actions.catalog",
    "features.code_actions.offer",
    "features.next_edit.action",
    "features.code_actions.work",
    "features.code_actions.run",
)


class Server(LanguageServer):
    """The server of one client; also the client that its session talks to."""

    _client_process: int | None = None

    def __init__(self, engine_factory: EngineFactory) -> None:
        super().__init__("palimpsest", __version__, protocol_cls=Protocol, notebook_document_sync=NOTEBOOKS)
        assert isinstance(self.protocol, Protocol)
        self.protocol.on_lost = self.lose_track
        self.protocol.on_refused = self.note_refused
        self.protocol.get_ready = self.get_ready
        self._engine_factory = engine_factory
        self._session: Session | None = None
        self._begin: Callable[[Session], None] = lambda session: None
        self._log: ClientLog | None = None
        self._background: set[asyncio.Task[None]] = set()

    @property
    def session(self) -> Session:
        """Return the state of the connection; it is made on first use, as importing all of it would delay `initialize`."""
        if self._session is None:
            from palimpsest_server.session.session import Session

            self._session = Session(self._engine_factory, self)
            self._begin(self._session)
        return self._session

    @property
    def process_id(self) -> int | None:
        """Return the id of the client's process: the one in `initialize`, or else on the command line."""
        return self._client_process

    @process_id.setter
    def process_id(self, given: int | None) -> None:
        self._client_process = self._client_process if given is None else given

    def on_session(self, begin: Callable[[Session], None]) -> None:
        """Have `begin` called with the session, at once or as soon as there is one."""
        self._begin = begin
        if self._session is not None:
            begin(self._session)

    async def get_ready(self) -> None:
        """Import what `initialize` was answered without, in parts, so that the event loop can do other work in between."""
        for name in _REST:
            import_module(f"palimpsest_server.{name}")
            await asyncio.sleep(0)

    def close(self) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            self._session.close()

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that nobody has to wait for."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification of our own."""
        self.protocol.notify(method, params)

    def warn(self, message: str) -> None:
        """Show a warning."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, visible(message)))

    def tell(self, message: str) -> None:
        """Show what a user wanted to know."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Info, visible(message)))

    def complain(self, message: str) -> None:
        """Show an error."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Error, visible(message)))

    def tell_of_log(self) -> None:
        """Pass our warnings and errors on to the client from now on."""

        def send(kind: int, message: str) -> None:
            self.window_log_message(types.LogMessageParams(types.MessageType(kind), visible(message)))

        if self._log is None:
            from palimpsest_server.status.client_log import ClientLog

            self._log = ClientLog(send, asyncio.get_running_loop().call_soon_threadsafe)

    def hush(self) -> None:
        """Pass nothing more on to the client."""
        if self._log is not None:
            self._log.close()

    def lose_track(self, uri: str | None) -> None:
        """Refuse work on a document or notebook, None for all, after a change of it that could not be read."""
        if self._session is not None and self._session.lose_track(uri):
            self.warn(f"Palimpsest: a change of {uri or 'a document'} could not be read; reopen it for more fills")

    def note_refused(self, method: str, reason: str) -> None:
        """Note a request whose params were refused, for the status and `palimpsest doctor --live`."""
        assert isinstance(self.protocol, Protocol)
        if self.protocol.initialized:
            self.session.publisher.answered(method, f"refused: {reason}")

    def report_server_error(self, error: Exception, source: type[Exception]) -> None:
        """Log a notification that failed: pygls caught its error and did nothing else."""
        if source is FeatureNotificationError:
            logger.error("a notification could not be handled", exc_info=True)
