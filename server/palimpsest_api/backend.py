"""The seam between HTTP routes and whatever fills: an engine on this machine, or the replicas of a team's cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Protocol

from palimpsest_engine import Draft, Engine, EngineStatus, Fill, FillRequest


class Backend(Protocol):
    """Fills requests for an event loop."""

    async def status(self) -> EngineStatus:
        """Return what the engine says of itself."""
        ...

    async def warm(self) -> None:
        """Begin loading the model, if that has not begun."""
        ...

    def fill(self, request: FillRequest) -> AsyncGenerator[Draft | Fill]:
        """Yield drafts, then the `Fill`. Raises a `PalimpsestError`. Whoever closes the generator ends the request."""
        ...

    async def close(self) -> None:
        """Release the engine."""
        ...


class EngineBackend:
    """Fills with an `Engine`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def status(self) -> EngineStatus:
        """Return what the engine says of itself."""
        return self.engine.status()

    async def warm(self) -> None:
        """Begin loading the model, if that has not begun."""
        self.engine.warm()

    async def fill(self, request: FillRequest) -> AsyncGenerator[Draft | Fill]:
        """Yield drafts, then the `Fill`; a draft that nobody has fetched when the next one comes is left out."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        newest: list[Draft] = []

        def on_draft(draft: Draft) -> None:
            newest[:] = [draft]
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                loop.call_soon_threadsafe(changed.set)

        def on_done(future: asyncio.Future[Fill]) -> None:
            changed.set()
            if not future.cancelled():
                future.exception()  # of a request that was given up, nobody asks for it, and asyncio would log that

        job = self.engine.submit(request, on_draft)
        done = asyncio.wrap_future(job.future)
        done.add_done_callback(on_done)
        try:
            while not done.done():
                await changed.wait()
                changed.clear()
                if newest and not done.done():
                    yield newest.pop()
            yield await done
        finally:
            job.cancel()

    async def close(self) -> None:
        """Close the engine."""
        self.engine.close()
