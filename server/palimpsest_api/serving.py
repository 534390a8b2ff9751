"""Run the application on a port until a signal comes, and leave nothing behind."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

import uvicorn
from starlette.applications import Starlette

from palimpsest_api.connection import connection
from palimpsest_api.limits import Limits
from palimpsest_engine import EngineStatus, PalimpsestError

_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that a server calls. listening: once it does. loaded: once the model is there or cannot be; returns whether
    to go on."""

    listening: Callable[[], None]
    loaded: Callable[[EngineStatus], bool]


class Work(Protocol):
    """The part of an application that fills: its `desk`."""

    limits: Limits

    async def status(self) -> EngineStatus:
        """Return what the engine says of itself."""
        ...

    async def warm(self) -> None:
        """Begin loading the model, if that has not begun."""
        ...

    def end(self) -> None:
        """End every fill under way."""
        ...


class Server(uvicorn.Server):
    """uvicorn's server, which says how far it is, and ends all fills when it ends."""

    def __init__(self, config: uvicorn.Config, desk: Work, hooks: Hooks) -> None:
        super().__init__(config)
        self._desk, self._hooks = desk, hooks
        self._loading: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; load the model meanwhile."""
        await super().startup(sockets)
        await self._desk.warm()
        self._hooks.listening()
        self._loading = asyncio.create_task(self._watch_loading())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is under way, each with an error of its own, then the rest."""
        if self._loading is not None:
            self._loading.cancel()
        self._desk.end()
        await super().shutdown(sockets)

    async def _watch_loading(self) -> None:
        # No engine tells when its state changes.
        while (status := await self._desk.status()).state in ("starting", "loading"):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        if not self._hooks.loaded(status):
            self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal, and not by it: the command still has an engine to close. A second one is not waited for."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = {kind: signal.signal(kind, self._on_signal) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises PalimpsestError if it cannot."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PalimpsestError(f"{host} is no address to listen on: {error.strerror or error}.") from None
    try:
        if hasattr(signal, "SIGHUP"):  # elsewhere, the option would let others take the port as well
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen()  # until somebody listens, others can take the port as well, and clients are refused
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise PalimpsestError(
                f"The port {port} is taken: choose another with --port, or 0 for a free one."
            ) from None
        raise PalimpsestError(f"Nothing can listen on {host}, port {port}: {error.strerror or error}.") from None
    return found


def serve(app: Starlette, taken: socket.socket, tls: ssl.SSLContext | None, hooks: Hooks) -> None:
    """Serve on a socket until SIGINT or SIGTERM."""
    asyncio.run(server_of(app, tls, hooks).serve([taken]))


def server_of(app: Starlette, tls: ssl.SSLContext | None, hooks: Hooks) -> Server:
    """Return the server of an application, within its limits."""
    desk: Work = app.state.desk
    limits = desk.limits
    config = uvicorn.Config(
        app,
        http=connection(limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=limits.head,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.ending_seconds,
    )
    config.load()
    config.ssl = tls
    return Server(config, desk, hooks)
