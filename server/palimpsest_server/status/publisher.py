"""Tell the client what is new: the status, and each error once; watch the engine while its state is a passing one."""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import Any, Protocol

from palimpsest_server.protocol.methods import STATUS
from palimpsest_server.status.board import Board
from palimpsest_server.status.requests import Requests
from palimpsest_server.status.status_file import Live

_WATCH_SECONDS = 0.2
_TELL_SECONDS = 0.1
_PASSING = ("starting", "loading", "busy")


class Client(Protocol):
    """Takes messages that the client did not ask for."""

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""

    def warn(self, message: str) -> None:
        """Show a warning."""

    def complain(self, message: str) -> None:
        """Show an error."""


class Publisher:
    """Publishes the board. watching: the engine was told to load, so a passing state is going to change."""

    def __init__(self, client: Client, board: Board, requests: Requests, live: Live) -> None:
        self.watching = False
        self._client = client
        self._board = board
        self._requests = requests
        self._live = live
        self._closed = False
        self._shown: set[str] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._told = -inf

    def answered(
        self, request: str, reason: str = "", source: str = "", text: str = "", doubt: str = "", *, aside: bool = False
    ) -> None:
        """Note that a request was answered; with nothing, if there is a reason. source: where the text was from. doubt: how
        likely it is to be right, where that is less than the user's eagerness asks for. aside: see `Board.answered`."""
        self._requests.answered(request, reason, source, text)
        self._board.answered(request, reason, doubt, aside=aside)
        self.publish()
        self._live.changed()

    def typed_on(self) -> None:
        """Note that a document was changed."""
        if self._board.typed_on():
            self.publish()

    def moved_on(self) -> None:
        """Note that a document was opened or closed."""
        if self._board.moved_on():
            self.publish()

    def came_to(self, reason: str = "") -> None:
        """Note the end of a fill that a request could not wait for: without a result, if there is a reason."""
        if self._board.came_to(reason):
            self.publish()

    def publish(self) -> None:
        """Tell the client the status if it is new."""
        if self._closed or self._later is not None:
            return
        wait = self._told + _TELL_SECONDS - monotonic()
        if wait > 0 and {self._board.state, self._board.told_state} <= {"ready", "busy"}:
            # Busy and ready again at each keystroke is no news; what stays is told a moment later.
            self._later = asyncio.get_running_loop().call_later(wait, self._publish_late)
            return
        state = self._tell()
        if state in _PASSING and self.watching and (self._watcher is None or self._watcher.done()):
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def close(self) -> None:
        """Tell nothing more."""
        self._closed = True
        if self._watcher is not None:
            self._watcher.cancel()
        if self._later is not None:
            self._later.cancel()

    def _publish_late(self) -> None:
        self._later = None
        self.publish()

    async def _watch(self) -> None:
        """Look again and again until the state stays: an engine cannot call back about it."""
        while self._tell() in _PASSING:  # noqa: ASYNC110 - the engine's thread runs no code of ours
            await asyncio.sleep(_WATCH_SECONDS)

    def _tell(self) -> str:
        now = self._board.status()
        if self._board.news() is not None:
            self._client.notify(STATUS, now)
            self._told = monotonic()
            self._live.changed()
        if now["state"] == "error" and now["reason"] not in self._shown:
            self._shown.add(now["reason"])
            self._client.complain(f"Palimpsest: {now['reason']}")
        return str(now["state"])
