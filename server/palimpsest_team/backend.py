"""`TeamBackend` fills with a team's replicas: what one of them began is begun again by another if it dies.

Knows nothing of Ray: `Replicas` is what it needs of a cluster, and `handle.py` is that for Ray Serve.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from palimpsest_api.refusals import Refusal
from palimpsest_engine import Draft, EngineStatus, Fill, FillRequest, PalimpsestError, messages
from palimpsest_team.affinity import key_of
from palimpsest_team.metrics import TeamMetrics

log = logging.getLogger("palimpsest.team")
_REMEMBERED = 10_000  # documents of which is known which replica filled last, for the figures
_STATUS_SECONDS = 2.0  # that a status is used again


class ReplicaLost(Exception):
    """The replica died, was stopped, or cannot be reached; another one may answer."""


class ClusterFull(Exception):
    """As many requests wait for replicas as may."""


class ClusterDown(Exception):
    """There is no service: it failed to start, or its head is gone."""


class Replicas(Protocol):
    """The living replicas of the team's engine."""

    def ask(self, packed: bytes, key: str) -> AsyncGenerator[bytes]:
        """Yield what `EngineReplica.fill` yields; closing it ends the fill.

        Raises ReplicaLost, ClusterFull or ClusterDown.
        """
        ...

    async def status(self) -> bytes:
        """Return what some replica's engine says of itself. Raises as `ask` does."""
        ...


class TeamBackend:
    """A `Backend` of `palimpsest_api`. seconds: that a request may take in all, a second try included."""

    def __init__(
        self,
        replicas: Replicas,
        seconds: float,
        metrics: TeamMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replicas, self._seconds, self._metrics, self._clock = replicas, seconds, metrics, clock
        self._last: OrderedDict[str, str] = OrderedDict()
        self._status = EngineStatus("starting", "No replica has answered yet.")
        self._status_until = 0.0

    async def status(self) -> EngineStatus:
        """Return what a replica's engine says of itself; an error if none answers."""
        if self._clock() >= self._status_until:
            self._status = await self._asked_status()
            self._status_until = self._clock() + _STATUS_SECONDS
        return self._status

    async def warm(self) -> None:
        """Do nothing: a replica loads its model before it takes requests."""

    async def fill(self, request: FillRequest) -> AsyncGenerator[Draft | Fill]:
        """Yield drafts, then the `Fill`. A request whose replica is lost is tried once more, within its time."""
        packed, key = messages.to_bytes(request), key_of(request)
        until = self._clock() + self._seconds
        for first in (True, False):
            try:
                async with aclosing(self._asked(packed, key, until)) as events:
                    async for event in events:
                        yield event
                        if isinstance(event, Fill):
                            return
            except ReplicaLost:
                self._metrics.lost(tried_again=first)
        raise Refusal(503, "The replicas that had this request are gone; try again.", "EndpointError", retry_after=1)

    async def close(self) -> None:
        """Do nothing: the service outlives its clients."""

    async def _asked(self, packed: bytes, key: str, until: float) -> AsyncGenerator[Draft | Fill]:
        """Ask one replica. Raises ReplicaLost, also if it ends without an answer."""
        async with aclosing(self._replicas.ask(packed, key)) as answers:
            try:
                self._note(key, (await self._next(answers, until)).decode("ascii", "replace"))
                while True:
                    event = messages.from_engine(await self._next(answers, until))
                    match event:
                        case messages.Drafted(_, draft):
                            yield draft
                        case messages.Filled(_, fill):
                            yield fill
                            return
                        case messages.Failed(_, "QueueFull", message):
                            raise Refusal(429, message, "QueueFull", retry_after=1)
                        case messages.Failed(_, kind, message):
                            raise messages.error_of(kind, message)
                        case _:
                            raise PalimpsestError("A replica answered with something that is no fill.")
            except StopAsyncIteration:
                raise ReplicaLost from None
            except ClusterFull:
                raise Refusal(503, "All replicas are busy; try again.", "EndpointError", retry_after=1) from None
            except ClusterDown as error:
                raise Refusal(503, f"{error}", "EndpointError", retry_after=5) from None

    async def _next(self, answers: AsyncGenerator[bytes], until: float) -> bytes:
        try:
            async with asyncio.timeout(max(0.0, until - self._clock())) as bound:
                return await anext(answers)
        except TimeoutError:
            if not bound.expired():
                raise
        said = f"No replica has answered this within {self._seconds:g} s."
        raise Refusal(504, said, "EndpointError", retry_after=1) from None

    async def _asked_status(self) -> EngineStatus:
        try:
            async with asyncio.timeout(_STATUS_SECONDS):
                told = messages.from_engine(await self._replicas.status())
        except (ReplicaLost, ClusterFull, TimeoutError):
            return self._status  # busy, and not gone
        except ClusterDown as error:
            return EngineStatus("error", str(error), exit_code=24)
        assert isinstance(told, messages.Told)
        return told.status

    def _note(self, key: str, replica: str) -> None:
        """Count whether a document came to the replica of its last request."""
        before = self._last.pop(key, None)
        self._last[key] = replica
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        if before is not None:
            self._metrics.routed(same=before == replica)
