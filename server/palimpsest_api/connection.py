"""Bound what one connection may do with time: a head that never ends, a client that reads nothing, too many at once."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from palimpsest_api.limits import Limits


class Connection(H11Protocol):
    """uvicorn's connection, with the bounds that uvicorn does not know."""

    limits = Limits()
    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new client, if there is room."""
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > self.limits.connections:
            self.transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; those that complete no request for too long end the connection."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head = _cancelled(self._head)
        elif self._head is None and not self.transport.is_closing():
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP. A request before them that is under way has lost its client by that."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        super().send_400_response(msg)

    def pause_writing(self) -> None:
        """Begin to wait for a client that reads too slowly."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._stalled = _cancelled(self._stalled)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._head, self._stalled = _cancelled(self._head), _cancelled(self._stalled)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head = self.loop.call_later(self.limits.head_seconds, self.transport.abort)


def connection(limits: Limits) -> type[Connection]:
    """Return the class of connections with these limits; uvicorn makes them itself."""
    return type("Connection", (Connection,), {"limits": limits})


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer; return what stands for none."""
    if timer is not None:
        timer.cancel()
    return None
