"""The canvas of an editor: the page is served by a thread of the language server, and shows the editor's own fills, too.

The session belongs to the language server's event loop, runs and listeners to that of the page. Calls cross by messages.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, replace

from palimpsest_canvas.cli import PACKAGES
from palimpsest_canvas.document import Document, Target
from palimpsest_engine import Draft, Engine, EngineSettings, EngineStatus, Fill, FillRequest, PalimpsestError
from palimpsest_server.cli import extras
from palimpsest_server.documents import edits
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.documents.uris import name_of
from palimpsest_server.features.code_actions.workspace_edit import apply, versioned
from palimpsest_server.server import Server
from palimpsest_server.session import jobs
from palimpsest_server.session.permission import ban
from palimpsest_server.session.session import Session

logger = logging.getLogger("palimpsest.canvas")

_START_SECONDS = 20.0
_PLACES = 64  # remembered: where the text on the page begins in its document
_TITLE = "Palimpsest: from the canvas"


def start(server: Server, loop: asyncio.AbstractEventLoop) -> EditorPage:
    """Serve the page on a free port; return once it listens. Raises PalimpsestError if it cannot.

    loop: the language server's. To be called on another thread.
    """
    extras.check_installed("the canvas", PACKAGES)
    page = EditorPage(server, loop)
    page.serve()
    return page


@dataclass(frozen=True, slots=True)
class SessionEngine:
    """The engine of a session, which may become another one when settings change."""

    session: Session

    def engine(self) -> Engine:
        """Return it. Raises PalimpsestError if there is none."""
        opened = self.session.engine.opened
        if opened is None:
            raise PalimpsestError(
                self.session.engine.fault or "No model is open; the setting palimpsest.enable may be off."
            )
        return opened

    def status(self) -> EngineStatus:
        """Return what it says of itself, or why there is none."""
        return self.session.engine.status()

    def settings(self) -> EngineSettings:
        """Return its settings."""
        return self.session.settings.engine


class Desk:
    """Takes what was made on the page into the editor's document, as one versioned edit."""

    editor = True

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self._loop = server, loop
        self._bases: dict[tuple[str, int | None], int] = {}

    def note(self, document: Document) -> None:
        """Remember where the text on the page begins in its document."""
        if document.uri is not None:
            self._bases[document.uri, document.version] = document.base
            for old in list(self._bases)[:-_PLACES]:
                del self._bases[old]

    def base_of(self, uri: str, version: int | None) -> int:
        """Return where the text on the page begins in that document."""
        return self._bases.get((uri, version), 0)

    async def apply(self, target: Target, texts: Sequence[str]) -> str:
        """Have the editor apply the texts; return the reason if it does not."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._apply(target, texts), self._loop))

    async def _apply(self, target: Target, texts: Sequence[str]) -> str:
        session = self._server.session
        if target.uri is None:
            return "The text on the page is of no document in the editor."
        document = session.documents.snapshot(target.uri)
        if document is None:
            return _sentence(session.documents.why_not_open(target.uri))
        if reason := ban(session, document):
            return _sentence(reason)
        content, base = document.content, target.base
        if document.version != target.version or content.slice(base, base + len(target.text)) != target.text:
            return _sentence(jobs.CHANGED)
        found = [
            edits.smallest(target.text, hole, edits.with_line_ends_of(target.text, text))
            for hole, text in zip(target.holes, texts, strict=True)
        ]
        changes = [
            edits.Edit(type(each.span)(base + each.span.start, base + each.span.end), each.text)
            for each in found
            if each
        ]
        if not changes:
            return "The editor has this text already."
        encoding, can = session.documents.encoding, self._server.client_capabilities
        change = versioned(document, changes, can, encoding, "from the canvas")
        reason = await apply(self._server, change, _TITLE)
        return _sentence(reason) if reason else ""


class EditorPage:
    """The page of one editor, and the thread that serves it. Methods without a note belong to the language server's loop."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        from palimpsest_canvas.canvas import Canvas
        from palimpsest_canvas.door import Keys
        from palimpsest_canvas.models import Models

        session = server.session
        self._session, self._server_loop = session, loop
        self._keys = Keys()
        self._desk = Desk(server, loop)
        self._canvas = Canvas(Models(SessionEngine(session), session.engine.factory), self._desk)
        self._loop = asyncio.new_event_loop()
        self._port = 0
        self._end: Callable[[], None] = lambda: None

    def serve(self) -> None:
        """Start the thread, and return once the page can be opened. Raises PalimpsestError. For any thread."""
        from palimpsest_api.serving import Hooks, listener, server_of
        from palimpsest_canvas.app import create

        taken = listener("127.0.0.1", 0)
        self._port = taken.getsockname()[1]
        listening = threading.Event()
        server = server_of(create(self._canvas, self._keys), None, Hooks(listening.set, lambda status: True))

        def work() -> None:
            asyncio.set_event_loop(self._loop)
            try:
                self._loop.run_until_complete(server.serve([taken]))
            except Exception:
                logger.exception("the server of the canvas ended")
            finally:
                taken.close()
                self._loop.close()

        def end() -> None:
            server.should_exit = True

        self._end = end
        threading.Thread(target=work, name="palimpsest-canvas", daemon=True).start()
        if not listening.wait(_START_SECONDS):
            end()
            raise PalimpsestError("the page could not be served; the log may say why")
        self._session.jobs.watch = self.watch

    def close(self) -> None:
        """Let the server end. For any thread."""
        self._session.jobs.watch = None
        self._post(self._canvas.end)  # the thread looks now and then alone, and the process may be gone by then
        self._end()

    def address(self) -> str:
        """Return an address that works once."""
        return f"http://127.0.0.1:{self._port}/?token={self._keys.token()}"

    def show(self, document: Snapshot, text: str, base: int, start: int, end: int) -> None:
        """Show a document, or the window of it that begins at `base`, with a hole in it."""
        name = name_of(document.uri) or "untitled"
        shown = Document(document.uri, name, document.language, document.version, text, start, end, base)
        self._desk.note(shown)
        self._post(lambda: self._canvas.show(shown))

    def watch(self, request: FillRequest, end: Callable[[], None]) -> jobs.Watched | None:
        """Show a fill of the editor at work; do nothing if no page is open."""
        from palimpsest_canvas.recording import Failed, outcome
        from palimpsest_canvas.runs import CANCELLED, Run
        from palimpsest_canvas.traced import CHOICES
        from palimpsest_engine import FillCancelled

        if not self._canvas.listened:
            return None
        document = self._document_of(request)
        told = self._canvas.models.status()
        run: list[Run] = []

        def begin() -> None:
            target = Target(document.uri, document.version, document.base, request.text, request.holes)
            run.append(Run(request, document.name, "editor", told.model, told.device, target))
            run[0].cancel = lambda: self._server_loop.call_soon_threadsafe(end)
            self._canvas.runs.add(run[0])
            if len(request.holes) == 1:
                self._canvas.show(document)

        def drafted(draft: Draft) -> None:
            self._post(lambda: run[0].drafted(draft))

        def ended(future: Future[Fill]) -> None:
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None:
                found: Failed | None = None
            elif isinstance(error, FillCancelled | CancelledError):
                found = Failed(CANCELLED)
            else:
                found = Failed(str(error) if isinstance(error, PalimpsestError) else "The engine failed.")

            def tell() -> None:
                run[0].done(found or outcome(future.result()))
                run[0].end()

            self._post(tell)

        self._post(begin)
        return jobs.Watched(replace(request, trace=CHOICES), drafted, ended)

    def _document_of(self, request: FillRequest) -> Document:
        document = self._session.documents.snapshot(request.document)
        base = 0
        if document is not None and len(document.content) > len(request.text):
            base = max(0, document.text.find(request.text))
        hole = request.holes[0]
        shown = Document(
            request.document,
            name_of(request.document) or "untitled",
            request.language or "",
            None if document is None else document.version,
            request.text,
            hole.start,
            hole.end,
            base,
        )
        self._desk.note(shown)
        return shown

    def _post(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # its loop is closed: the server ends
            self._loop.call_soon_threadsafe(call)


def _sentence(reason: str) -> str:
    """Return a reason as a sentence of its own."""
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."
