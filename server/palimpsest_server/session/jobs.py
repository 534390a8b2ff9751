"""Run one job per document, of which the latest wins; lives on the event loop and hides the engine's thread from it.

A job is prepared (a pause for more typing, a look at the syntax, context from elsewhere), then submitted, then settled.
Ending it before it is submitted costs the engine nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from palimpsest_engine import Draft, Engine, Fill, FillCancelled, FillRequest, Job, PalimpsestError
from palimpsest_server.session.eagerness import Offer

logger = logging.getLogger(__name__)

Purpose = Literal["inline", "command", "prefetch"]

SUPERSEDED = "superseded"
CANCELLED = "cancelled"
CHANGED = "the document changed"
CLOSED = "the document was closed"
LOST = "the document is out of step: a change could not be read; reopen it"

_LOOK_SECONDS = 0.25
_STOOD_STILL_SECONDS = 1.0  # so late a look was not delayed: the process was stopped, or the machine slept


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a job: a fill that offers something, or the reason why there is none.

    lasting: asking again would end the same way, so the answer may be kept.
    """

    fill: Fill | None
    reason: str = ""
    lasting: bool = False


class Refused(Exception):
    """Raised by a preparation, with the reason why the engine is not asked."""


Prepare = Callable[[], Awaitable[FillRequest]]


@dataclass(frozen=True, slots=True)
class Watched:
    """A fill that is shown elsewhere, too. request: the same one, with a trace. drafted, ended: called on any thread."""

    request: FillRequest
    drafted: Callable[[Draft], None]
    ended: Callable[[Future[Fill]], None]


Watch = Callable[[FillRequest, Callable[[], None]], Watched | None]


class Running:
    """A job under way. `outcome` ends exactly once, never with an exception.

    waiting: the number of waiters. asked: set by the first waiter. key: equal for the same question. draft: the latest one.
    stable: the draft before it read the same, and all of it is settled. offer: what its maker made of the outcome.
    """

    def __init__(self, key: Hashable, purpose: Purpose) -> None:
        self.key = key
        self.purpose = purpose
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.preparing: asyncio.Task[None] | None = None
        self.request: FillRequest | None = None
        self.job: Job | None = None
        self.draft: Draft | None = None
        self.offer: Offer | None = None
        self.stable = False
        self.waiting = 0
        self.asked = asyncio.Event()

    async def wait(self, seconds: float | None = None) -> Outcome | None:
        """Return the outcome, or None if it takes longer than that; the job goes on then.

        A waiter that is cancelled ends the job, unless another waits for it too.
        """
        self.waiting += 1
        self.asked.set()
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
        """Stop the sampler before its next step and answer all waiters now."""
        if self.preparing is not None:
            self.preparing.cancel()
        if self.job is not None:
            self.job.cancel()
        self.settle(Outcome(None, reason))

    def settle(self, outcome: Outcome) -> None:
        """End with this outcome, unless it has ended already."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def drafted(self, draft: Draft) -> None:
        """Take note of a draft."""
        self.stable = self.draft is not None and self.draft.texts == draft.texts and draft.settled_share == 1.0
        self.draft = draft


class Jobs:
    """The jobs under way, by document.

    hung: the engine has shown no sign of life for longer than the deadline; ends with the next sign. submitted, superseded,
    prefetched: counted since the start. watch: takes up a request that was asked for, and what ends it, if a page is open
    that shows fills at work; returns None if none is.
    """

    def __init__(self) -> None:
        self.hung = False
        self.submitted = self.superseded = self.prefetched = 0
        self.watch: Watch | None = None
        self._running: dict[str, Running] = {}
        self._seconds: deque[float] = deque([0.15], maxlen=5)
        self._sign = monotonic()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def usual_seconds(self) -> float:
        """Return the time that the engine takes for a fill: the longest of its last few."""
        return max(self._seconds)

    def counters(self) -> dict[str, int]:
        """Count the jobs that reached the engine: those asked for, those prefetched, those that were then superseded."""
        asked = self.submitted - self.prefetched
        return {"model": asked, "speculative": self.prefetched, "superseded": self.superseded}

    def running(self, uri: str) -> Running | None:
        """Return the document's job, if one is under way."""
        return self._running.get(uri)

    def end(self, uri: str, reason: str) -> None:
        """End the document's job, if one is under way."""
        if running := self._running.get(uri):
            self.superseded += running.job is not None and reason in (SUPERSEDED, CHANGED)
            running.end(reason)

    def end_all(self, reason: str) -> None:
        """End every job."""
        self.end_those(lambda uri: reason)

    def end_those(self, why: Callable[[str], str]) -> None:
        """End the jobs of the documents for which `why` has a reason."""
        for uri, running in list(self._running.items()):
            if reason := why(uri):
                running.end(reason)

    def start(
        self,
        engine: Engine,
        uri: str,
        key: Hashable,
        purpose: Purpose,
        prepare: Prepare,
        on_draft: Callable[[Draft], None],
        on_end: Callable[[Outcome], None],
        deadline: float = 30.0,
        *,
        asked: bool = False,
    ) -> Running:
        """Prepare a request and submit it, in place of the document's job. Both callbacks run on the event loop.

        deadline: seconds without any sign of life of the engine, after which the job is given up. asked: the user asked for
        it by name, so a page that is open shows it.
        """
        loop = asyncio.get_running_loop()
        self.end(uri, SUPERSEDED)
        running = Running(key, purpose)
        self._running[uri] = running

        def ended(outcome: asyncio.Future[Outcome]) -> None:
            if self._running.get(uri) is running:
                del self._running[uri]
            on_end(outcome.result())

        def drafted(draft: Draft) -> None:
            self._alive()
            if not running.outcome.done():
                running.drafted(draft)
                on_draft(draft)

        def post(call: Callable[..., None], *values: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(call, *values)

        def submit(request: FillRequest) -> Job:
            watched = self.watch(request, lambda: running.end(CANCELLED)) if asked and self.watch else None
            if watched is None:
                return engine.submit(request, lambda draft: post(drafted, draft))

            def show(draft: Draft) -> None:
                post(drafted, draft)
                watched.drafted(draft)

            job = engine.submit(watched.request, show)
            job.future.add_done_callback(watched.ended)
            return job

        def settled(future: Future[Fill]) -> None:
            self._alive()
            outcome = _outcome(future)
            if outcome.fill is not None:
                self._seconds.append(outcome.fill.ms / 1000)
            running.settle(outcome)

        async def submitted() -> None:
            try:
                running.request = await prepare()
                self.submitted += 1
                self.prefetched += purpose == "prefetch"
                self._sign = max(self._sign, monotonic()) if not self.hung else self._sign
                running.job = submit(running.request)
            except Refused as refused:
                running.settle(Outcome(None, str(refused), lasting=True))
            except asyncio.CancelledError:
                running.settle(Outcome(None, CANCELLED))
                raise
            except BaseException as error:  # no error of an engine may end the server
                running.settle(_failed(error))
            else:
                running.job.future.add_done_callback(lambda future: post(settled, future))
                self._look_later(engine, running, deadline)

        def prepared(_: asyncio.Task[None]) -> None:
            running.preparing = None  # its CancelledError refers back to here, and to whole texts

        running.outcome.add_done_callback(ended)
        running.preparing = loop.create_task(submitted())
        running.preparing.add_done_callback(prepared)
        return running

    def _alive(self) -> None:
        self._sign, self.hung = monotonic(), False

    def _look_later(self, engine: Engine, running: Running, deadline: float) -> None:
        wait = min(_LOOK_SECONDS, deadline)
        asyncio.get_running_loop().call_later(wait, self._look, engine, running, deadline, monotonic() + wait)

    def _look(self, engine: Engine, running: Running, deadline: float, due: float) -> None:
        """Give the job up if the engine is silent for too long; loading a checkpoint may take any time.

        due: when this was to happen. While the process stands still, the engine does, too.
        """
        if running.outcome.done():
            return
        if (late := monotonic() - due) > _STOOD_STILL_SECONDS:
            self._sign += late
        if engine.status().state in ("starting", "loading"):
            self._sign = monotonic()
        if monotonic() - self._sign >= deadline:
            self.hung = True
            running.end(f"the engine has shown no sign of life for {deadline:g} s")
            return
        self._look_later(engine, running, deadline)


def _outcome(future: Future[Fill]) -> Outcome:
    """Return the outcome that the engine's future stands for."""
    if future.cancelled():
        return Outcome(None, CANCELLED)
    if (error := future.exception()) is not None:
        return _failed(error)
    fill = future.result()
    if fill.empty:
        return Outcome(None, fill.reason or "the model had nothing to offer", lasting=True)
    return Outcome(fill)


def _failed(error: BaseException) -> Outcome:
    if isinstance(error, FillCancelled):
        return Outcome(None, CANCELLED)
    if isinstance(error, PalimpsestError):
        return Outcome(None, str(error))
    logger.error("the engine failed", exc_info=error)
    # The error's text may quote the document, and reasons are written to a file. The log shows it to a user who asks for it.
    return Outcome(None, f"the engine failed: {type(error).__name__}")
