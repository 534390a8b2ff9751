"""What the server is doing, and why the last answer was empty, as clients are told; knows no LSP types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from palimpsest_engine import EngineStatus

METHOD = "palimpsest/status"


class Board:
    """Holds the last empty answer and tells the client whatever is new; `docs/protocol.md` has the fields."""

    def __init__(self, read: Callable[[], EngineStatus], paused: Callable[[], bool]) -> None:
        self._read = read
        self._paused = paused
        self._last_empty: dict[str, str] | None = None
        self._published: dict[str, Any] | None = None

    def empty(self, request: str, reason: str) -> None:
        """An answer was empty, for this reason."""
        self._last_empty = {"request": request, "reason": reason}

    def offered(self) -> None:
        """An answer had something in it."""
        self._last_empty = None

    def status(self) -> dict[str, Any]:
        """The fields of `palimpsest/status`."""
        engine = self._read()
        state: str = "starting" if engine.state == "closed" else engine.state
        reason = engine.reason
        if self._paused():
            state, reason = "paused", "the setting palimpsest.enable is false"
        return {
            "state": state,
            "reason": reason,
            "model": engine.model,
            "device": engine.device,
            "lastEmpty": self._last_empty,
        }

    def news(self) -> dict[str, Any] | None:
        """The status if it is not what the client was told last; calling this counts as telling."""
        status = self.status()
        if status == self._published:
            return None
        self._published = status
        return status
