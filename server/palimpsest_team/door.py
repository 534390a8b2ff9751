"""The front door: the routes of `palimpsest_api` for people with a token, over the team's replicas. Knows nothing of Ray."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palimpsest_api.app import create
from palimpsest_api.backend import Backend
from palimpsest_api.desk import Desk
from palimpsest_api.guard import CLIENT, Recognise
from palimpsest_api.limits import Limits
from palimpsest_api.refusals import Refusal
from palimpsest_api.serving import Hooks, Server, server_of
from palimpsest_engine import Draft, EngineStatus, Fill, FillRequest
from palimpsest_team.metrics import TeamMetrics
from palimpsest_team.quotas import QuotaExceeded, Quotas
from palimpsest_team.tokens import Tokens, TokensUnreadable

access = logging.getLogger("palimpsest.team.access")
log = logging.getLogger("palimpsest.team")
_POLL_SECONDS = 0.05
LIMITS = Limits(connections=4096, fills=2048)


@dataclass(frozen=True, slots=True)
class Door:
    """The rules of the door: the users let in, and how often. drain_seconds: for fills under way when the service ends."""

    tokens: str
    per_minute: int = 600
    at_once: int = 8
    seconds: float = 60.0
    drain_seconds: float = 30.0


def application(backend: Backend, door: Door, metrics: TeamMetrics) -> Starlette:
    """Return the application. Its users are those of the file of tokens."""
    counted = Counted(backend, Quotas(door.per_minute, door.at_once), metrics)
    limits = replace(LIMITS, fill_seconds=door.seconds)
    app = create(counted, recognise=_recognise(Tokens(Path(door.tokens)), metrics), hosts=None, limits=limits)
    desk: Desk = app.state.desk
    metrics.register(desk.metrics.registry)
    return app


class Counted:
    """A backend that holds each user to a quota."""

    def __init__(self, backend: Backend, quotas: Quotas, metrics: TeamMetrics) -> None:
        self._backend, self._quotas, self._metrics = backend, quotas, metrics

    async def status(self) -> EngineStatus:
        """Return what a replica's engine says of itself."""
        return await self._backend.status()

    async def warm(self) -> None:
        """Begin nothing."""
        await self._backend.warm()

    async def close(self) -> None:
        """Release the replicas."""
        await self._backend.close()

    async def fill(self, request: FillRequest) -> AsyncGenerator[Draft | Fill]:
        """Yield drafts, then the `Fill`. Raises Refusal if the user has asked for too much."""
        try:
            with self._quotas.admitted(request.client):
                async with aclosing(self._backend.fill(request)) as events:
                    async for event in events:
                        yield event
        except QuotaExceeded as error:
            self._metrics.refused("quota")
            raise Refusal(429, str(error), "EndpointError", retry_after=math.ceil(error.retry_after)) from None


class AccessLog:
    """Logs who asked, what the answer's status was, and the time it took: neither paths nor texts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun = 0, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            # Nobody cancelled this: the client is gone, and an error would be nothing but a traceback in the log.
        finally:
            milliseconds = (time.perf_counter() - begun) * 1000
            access.info("%s %s %.0f ms", scope.get(CLIENT) or "-", status or "gone", milliseconds)


class _Draining(Server):
    """A server that lets the fills under way end by themselves for a while."""

    drain_seconds = 0.0

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more clients, wait for the answers under way, and end."""
        for server in self.servers:
            server.close()
        until = time.monotonic() + self.drain_seconds
        while self.server_state.tasks and time.monotonic() < until and not self.force_exit:
            for each in list(self.server_state.connections):
                each.shutdown()  # those that are idle; a busy one ends with its answer
            await asyncio.sleep(_POLL_SECONDS)
        await super().shutdown(sockets)


async def serve(
    app: Starlette,
    taken: socket.socket,
    tls: ssl.SSLContext | None,
    drain_seconds: float,
    ready: Callable[[], None],
) -> None:
    """Serve on a socket until SIGINT or SIGTERM."""
    hooks = Hooks(ready, lambda status: True)  # replicas have their model before they are asked
    config = server_of(app, tls, hooks).config
    config.loaded_app = AccessLog(config.loaded_app)
    server = _Draining(config, app.state.desk, hooks)
    server.drain_seconds = drain_seconds
    await server.serve([taken])


def _recognise(tokens: Tokens, metrics: TeamMetrics) -> Recognise:
    def user_of(token: str) -> str | None:
        try:
            user = tokens.user_of(token) if token else None
        except TokensUnreadable as error:
            log.error("nobody is let in: %s", error)
            metrics.refused("tokens unreadable")
            raise Refusal(503, "The server cannot read its tokens.", "EndpointError", retry_after=5) from None
        if user is None:
            metrics.refused("token")
        return user

    return user_of
