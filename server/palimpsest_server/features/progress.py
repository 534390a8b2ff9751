"""Show the work-done progress of one command, with cancel, to a client that can show it; knows nothing of fills."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future

from lsprotocol import types
from pygls.lsp.server import LanguageServer

_PATIENCE = 0.5  # seconds: what is shown for less only flashes


class WorkDoneProgress:
    """Progress that is shown until `end`. Nothing waits for the client: a report before it is ready is left out.

    token: the client's own, which it shows as it likes; without one, the client is asked to show ours, after a while.
    """

    def __init__(
        self,
        server: LanguageServer,
        title: str,
        token: types.ProgressToken | None,
        on_cancel: Callable[[], None],
    ) -> None:
        self._rpc = server.work_done_progress
        self._title = title
        self._on_cancel = on_cancel
        self._token = token
        self._begun = self._ended = False
        self._percentage = 0
        self._later: asyncio.TimerHandle | None = None
        window = server.client_capabilities.window
        if token is not None:
            self._begin()
        elif window and window.work_done_progress:
            self._later = asyncio.get_running_loop().call_later(_PATIENCE, self._create, server)

    def report(self, share: float, message: str = "") -> None:
        """Show the share that is done, 0..1; it never goes back. message: goes with a greater share."""
        percentage = int(share * 100)
        if self._begun and not self._ended and percentage > self._percentage and self._token is not None:
            self._percentage = percentage
            report = types.WorkDoneProgressReport(cancellable=True, message=message or None, percentage=percentage)
            self._rpc.report(self._token, report)

    def end(self, message: str = "") -> None:
        """Take the progress away, with a last message."""
        if self._begun and not self._ended and self._token is not None:
            self._rpc.end(self._token, types.WorkDoneProgressEnd(message=message or None))
            self._rpc.tokens.pop(self._token, None)
        self._ended = True
        if self._later is not None:
            self._later.cancel()

    def _create(self, server: LanguageServer) -> None:
        self._token = str(uuid.uuid4())
        create = types.WorkDoneProgressCreateParams(self._token)
        asked = server.protocol.send_request(types.WINDOW_WORK_DONE_PROGRESS_CREATE, create)
        asked.add_done_callback(self._created)

    def _created(self, answer: Future[None]) -> None:
        if not self._ended and not answer.cancelled() and answer.exception() is None:
            self._begin()

    def _begin(self) -> None:
        assert self._token is not None, "only called with a token"
        self._rpc.begin(self._token, types.WorkDoneProgressBegin(self._title, cancellable=True, percentage=0))
        self._rpc.tokens[self._token].add_done_callback(lambda _: self._on_cancel())
        self._begun = True
