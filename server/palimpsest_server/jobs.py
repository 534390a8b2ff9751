"""One job per document, the latest wins; lives on the event loop and hides the engine's thread from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from palimpsest_engine import Draft, Engine, Fill, FillCancelled, FillRequest, Job, PalimpsestError

logger = logging.getLogger(__name__)

Purpose = Literal["inline", "selection"]

SUPERSEDED = "superseded"
CANCELLED = "cancelled"
CHANGED = "the document changed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: with a fill that offers something, or with the reason why there is none.

    lasting: asking again would end the same way, so the answer may be kept.
    """

    fill: Fill | None
    reason: str = ""
    lasting: bool = False


class Running:
    """A job under way. `outcome` ends exactly once, never with an exception; `waiting` counts who waits."""

    __slots__ = ("job", "outcome", "purpose", "request", "waiting")

    def __init__(self, request: FillRequest, purpose: Purpose) -> None:
        self.request = request
        self.purpose = purpose
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.job: Job | None = None
        self.waiting = 0

    async def wait(self, seconds: float | None = None) -> Outcome | None:
        """The outcome, or None if it takes longer than that; the job goes on then.

        A waiter that is cancelled takes the job along, unless somebody else waits for it too.
        """
        self.waiting += 1
        try:
            await asyncio.wait((self.outcome,), timeout=seconds)
        except asyncio.CancelledError:
            if self.waiting == 1:
                self.end(CANCELLED)
            raise
        finally:
            self.waiting -= 1
        return self.outcome.result() if self.outcome.done() else None

    def end(self, reason: str) -> None:
        """Stop the sampler before its next step and answer whoever waits, now."""
        if self.job is not None:
            self.job.cancel()
        self.settle(Outcome(None, reason))

    def settle(self, outcome: Outcome) -> None:
        """End with this outcome, unless it has ended already."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Jobs:
    """The jobs under way, by document."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    def running(self, uri: str) -> Running | None:
        """The document's job, if one is under way."""
        return self._running.get(uri)

    def end(self, uri: str, reason: str) -> None:
        """End the document's job, if one is under way."""
        if running := self._running.get(uri):
            running.end(reason)

    def end_all(self, reason: str) -> None:
        """End every job."""
        for running in list(self._running.values()):
            running.end(reason)

    def start(
        self,
        engine: Engine,
        request: FillRequest,
        purpose: Purpose,
        on_draft: Callable[[Draft], None],
        on_end: Callable[[Outcome], None],
    ) -> Running:
        """Submit a request in place of what runs for its document. Both callbacks run on the event loop."""
        loop = asyncio.get_running_loop()
        uri = request.document
        self.end(uri, SUPERSEDED)
        running = Running(request, purpose)
        self._running[uri] = running

        def ended(outcome: asyncio.Future[Outcome]) -> None:
            if self._running.get(uri) is running:
                del self._running[uri]
            on_end(outcome.result())

        def drafted(draft: Draft) -> None:
            if not running.outcome.done():
                on_draft(draft)

        def post(call: Callable[..., None], *values: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(call, *values)

        def finished(future: Future[Fill]) -> None:
            post(running.settle, _outcome(future))

        running.outcome.add_done_callback(ended)
        try:
            running.job = engine.submit(request, lambda draft: post(drafted, draft))
        except Exception as error:
            running.settle(_failed(error))
        else:
            running.job.future.add_done_callback(finished)
        return running


def _outcome(future: Future[Fill]) -> Outcome:
    """What the engine's future says, in our words."""
    error = CancelledByEngine() if future.cancelled() else future.exception()
    if error is not None:
        return _failed(error)
    fill = future.result()
    if fill.empty:
        return Outcome(None, fill.reason or "the model had nothing to offer", lasting=True)
    return Outcome(fill)


class CancelledByEngine(FillCancelled):
    """The engine dropped the job without saying why."""


def _failed(error: BaseException) -> Outcome:
    if isinstance(error, FillCancelled):
        return Outcome(None, CANCELLED)
    if isinstance(error, PalimpsestError):
        return Outcome(None, str(error))
    logger.error("the engine failed", exc_info=error)
    return Outcome(None, f"the engine failed: {type(error).__name__}: {error}")
