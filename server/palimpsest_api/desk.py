"""Take requests to the backend: so many at a time, for so long, and none when the server ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

from palimpsest_api.backend import Backend
from palimpsest_api.limits import Limits
from palimpsest_api.metrics import Metrics
from palimpsest_api.refusals import Refusal
from palimpsest_engine import Draft, EngineStatus, Fill, FillCancelled, FillRequest, LanguageUnknown

OnDraft = Callable[[Draft], Awaitable[None]]


class Enough(Exception):
    """Raised by whoever watches the drafts: the last one will do, so the work may end."""


class Desk:
    """The only way from a route to the backend. For one event loop."""

    def __init__(self, backend: Backend, limits: Limits, metrics: Metrics) -> None:
        self.backend, self.limits, self.metrics = backend, limits, metrics
        self._under_way: set[asyncio.Timeout] = set()
        self._ended = False

    async def status(self) -> EngineStatus:
        """Return what the engine says of itself."""
        return await self.backend.status()

    async def warm(self) -> None:
        """Begin loading the model, if that has not begun."""
        await self.backend.warm()

    def end(self) -> None:
        """End every fill under way with an error, and refuse all that come later."""
        self._ended = True
        for bound in self._under_way:
            with suppress(RuntimeError):  # it is ending already
                bound.reschedule(asyncio.get_running_loop().time())

    async def fill(self, request: FillRequest, route: str, on_draft: OnDraft | None = None) -> Fill:
        """Fill, and end the work when the caller is cancelled or `on_draft` raises.

        Raises Refusal, and what the backend raises.
        """
        if self._ended:
            self.metrics.count(route, "busy")
            raise _ending()
        if len(self._under_way) >= self.limits.fills:
            self.metrics.count(route, "busy")
            raise Refusal(503, f"{self.limits.fills} requests are waiting already; try again later.", retry_after=1)
        with self.metrics.timed(route) as outcome:
            try:
                async with asyncio.timeout(self.limits.fill_seconds) as bound:
                    self._under_way.add(bound)
                    try:
                        fill = await self._filled(request, on_draft)
                    finally:
                        self._under_way.discard(bound)
            except (asyncio.CancelledError, FillCancelled):
                outcome.name = "cancelled"
                raise
            except Enough:
                outcome.name = "cut short"
                raise
            except LanguageUnknown:
                outcome.name = "empty"
                raise
            except TimeoutError:
                if not bound.expired():
                    raise
                raise _ending() if self._ended else self._too_long() from None
            outcome.name = "empty" if fill.empty else "filled"
        self.metrics.written(fill)
        return fill

    async def _filled(self, request: FillRequest, on_draft: OnDraft | None) -> Fill:
        async with aclosing(self.backend.fill(request)) as events:
            async for event in events:
                if isinstance(event, Fill):
                    return event
                if on_draft is not None:
                    await on_draft(event)
        raise AssertionError("a backend ends with a fill")

    def _too_long(self) -> Refusal:
        return Refusal(504, f"The fill took longer than {self.limits.fill_seconds:g} s.")


def _ending() -> Refusal:
    return Refusal(503, "The server is shutting down.", retry_after=5)
