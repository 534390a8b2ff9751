"""Ask the engine process of this machine, and start it if nobody has: an `Engine` without a model.

If the process ends without a word, it is started once more and asked again for everything that was under way. What cannot be
shared for a reason that will not pass (no folder for a socket, another version of the protocol) is answered by an engine of
this process instead; the status says so.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, replace

from palimpsest_engine.engine import Engine, EngineSettings, EngineStatus, Job
from palimpsest_engine.errors import FillCancelled, PalimpsestError
from palimpsest_engine.messages import (
    PROTOCOL,
    Cancel,
    Drafted,
    Failed,
    Filled,
    Goodbye,
    Hello,
    NotAMessage,
    Submit,
    Told,
    Warm,
    Welcome,
    error_of,
    from_engine,
)
from palimpsest_engine.request import Draft, Fill, FillRequest
from palimpsest_engine.shared.address import CannotShare
from palimpsest_engine.shared.channel import Channel, Ended
from palimpsest_engine.shared.starting import Starter

log = logging.getLogger("palimpsest.engine")
OnDraft = Callable[[Draft], None]

CRASHES = 2  # within so many seconds, after which the process is not started any more
CRASH_SECONDS = 300.0
_WELCOME_SECONDS = 10.0
_TURNED_AWAY = 20  # times in a row, after which it is no process that was just ending
_MAKING_ROOM_SECONDS = 0.05  # until a process that ends has left its place


@dataclass(slots=True, eq=False)
class _Asked(Job):
    """A request with the engine process. sent: over this connection. inner: the same with an engine of this process."""

    number: int = 0
    on_draft: OnDraft | None = None
    tell: Callable[[_Asked], None] = lambda _: None
    sent: bool = False
    inner: Job | None = None

    def cancel(self) -> None:
        """End the request before its next denoising step."""
        if not self.cancelled.is_set():
            self.cancelled.set()
            self.tell(self)


class SharedEngine:
    """Fills with the engine of these settings in the engine process.

    own: opens an engine in this process, for when that cannot be. starter: starts the process.
    """

    def __init__(
        self, settings: EngineSettings, own: Callable[[], Engine], starter: Starter, version: str = ""
    ) -> None:
        self._hello = Hello(PROTOCOL, version, settings)
        self._open_own, self._starter = own, starter
        self._own: Engine | None = None
        self._why_own = ""
        self._status = EngineStatus("starting", "No fill was asked for yet.")
        self._jobs: dict[int, _Asked] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()  # a done callback may submit the next request
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: Channel | None = None
        self._needed = asyncio.Event()  # something is to be asked; for the thread of the loop alone
        self._warm = self._closed = False
        self._parting = False  # the process takes no more requests
        self._turned_away = 0

    # The seam, on any thread

    def status(self) -> EngineStatus:
        """Return the state of the engine process, or of the engine of this process that stands in for it."""
        if self._own is None:
            return self._status
        told = self._own.status()
        return replace(told, reason=" ".join(part for part in (self._why_own, told.reason) if part))

    def warm(self) -> None:
        """Begin loading the checkpoint there, if that has not begun."""
        with self._lock:
            self._warm = True
            if self._own is not None:
                self._own.warm()
            elif not self._closed:
                self._begin()
                self._on_loop(self._ask_to_warm)

    def submit(self, request: FillRequest, on_draft: OnDraft | None = None) -> Job:
        """Send a request. `on_draft` runs on the thread of the connection."""
        with self._lock:
            job = _Asked(request, number=next(self._numbers), on_draft=on_draft, tell=self._cancelled)
            if self._closed:
                job.future.set_exception(FillCancelled("The engine is closed."))
            elif self._own is not None:
                self._ask_own(job)
            else:
                self._jobs[job.number] = job
                self._begin()
                self._on_loop(self._ask, job)
            return job

    def close(self) -> None:
        """Cancel everything and leave the engine process, which may serve others."""
        with self._lock:
            self._closed = True
            self._status = EngineStatus("closed", "The engine is closed.")
            jobs, own = list(self._jobs.values()), self._own
            self._jobs.clear()
            self._on_loop(self._leave)
        for job in jobs:
            job.cancelled.set()
            self._end(job, FillCancelled("The engine is closed."))
        if own is not None:
            own.close()

    def _cancelled(self, job: _Asked) -> None:
        with self._lock:
            if job.inner is not None:
                job.inner.cancel()
            elif job.number in self._jobs:
                self._on_loop(self._cancel, job)

    # The connection, on the thread of its event loop

    def _begin(self) -> None:
        """Start the thread, unless it runs. With the lock."""
        if self._thread is None:
            self._status = EngineStatus("loading", "The engine process is being asked for.")
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, name="palimpsest-shared", daemon=True)
            self._thread.start()

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        with self._lock:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(call, *arguments)

    def _run(self) -> None:
        assert self._loop is not None
        try:
            self._connecting = self._loop.create_task(self._keep_connected())
            self._loop.run_until_complete(self._connecting)
        except asyncio.CancelledError:
            pass  # `close`
        except CannotShare as error:
            log.warning("%s This server has an engine of its own.", error)
            self._use_own(str(error))
        except Exception as error:  # everything is answered all the same
            log.exception("the connection to the engine process failed")
            self._use_own(f"The engine cannot be shared: {type(error).__name__}.")
        finally:
            # A connection that is cut off closes its socket in the loop's next round.
            self._loop.run_until_complete(asyncio.sleep(0))
            with self._lock:
                self._loop.close()

    async def _keep_connected(self) -> None:
        """Connect when there is something to ask, and again when the process has ended. Raises CannotShare."""
        crashes: list[float] = []
        self._needed.set()
        while True:
            await self._needed.wait()
            goodbye = await self._converse()
            if goodbye:  # in good order; whatever it did not answer is asked of its successor
                self._become(EngineStatus("starting", goodbye))
                self._sleep_unless_needed()
                continue
            now, where = time.monotonic(), self._starter.place().log
            crashes = [*(at for at in crashes if now - at < CRASH_SECONDS), now]
            log.warning("the engine process has ended without a word; its log is %s", where)
            if len(crashes) >= CRASHES:
                crashes.clear()
                self._give_up(
                    f"The engine process ended {CRASHES} times within five minutes, so it is not started before the next "
                    f"request; its log is {where}."
                )

    def _sleep_unless_needed(self) -> None:
        if not self._jobs:
            self._needed.clear()

    async def _converse(self) -> str:
        """Talk to the process until it ends; return its reason, or "" if it gave none. Raises CannotShare."""
        channel = await self._starter.connect()
        try:
            if said := await self._introduced(channel):
                return said
            self._channel, self._parting = channel, False
            if self._warm:
                channel.send(Warm())
            for job in list(self._jobs.values()):
                job.sent = False
                self._ask(job)
            goodbye = ""
            while True:
                message = from_engine(await channel.receive())
                if isinstance(message, Goodbye):
                    goodbye, self._parting = message.reason, True
                else:
                    self._take(message)
        except Ended:
            return goodbye if self._channel is not None else ""
        except NotAMessage as error:
            raise CannotShare(f"The engine cannot be shared: {error}") from None
        finally:
            self._channel = None
            await channel.close()

    async def _introduced(self, channel: Channel) -> str:
        """Say hello; return "" if the process is glad to see us, else its reason to end. Raises CannotShare."""
        channel.send(self._hello)
        try:
            async with asyncio.timeout(_WELCOME_SECONDS):
                answer = from_engine(await channel.receive())
        except TimeoutError:
            raise CannotShare("The engine cannot be shared: its process does not answer.") from None
        except Ended:  # it was killed before it saw us
            answer = Goodbye("The engine process was just ending.")
        if isinstance(answer, Welcome):
            self._turned_away = 0
            return ""
        if not isinstance(answer, Goodbye):
            raise CannotShare("The engine cannot be shared: its process speaks another protocol.")
        if answer.final:
            raise CannotShare(answer.reason)
        self._turned_away += 1
        if self._turned_away > _TURNED_AWAY:
            raise CannotShare(f"The engine cannot be shared: its process ends again and again. {answer.reason}")
        await asyncio.sleep(_MAKING_ROOM_SECONDS)
        return answer.reason

    def _ask(self, job: _Asked) -> None:
        """Send a request, or connect first. One that was cancelled meanwhile ends here."""
        if job.cancelled.is_set():
            self._end(job, FillCancelled("The fill was cancelled."))
        elif self._channel is None or self._parting:
            self._needed.set()
        elif not job.sent:
            job.sent = True
            try:
                self._channel.send(Submit(job.number, job.request, job.on_draft is not None))
            except NotAMessage as error:
                self._end(job, error)

    def _cancel(self, job: _Asked) -> None:
        if self._channel is not None and job.sent:
            self._channel.send(Cancel(job.number))
        else:
            self._end(job, FillCancelled("The fill was cancelled."))

    def _ask_to_warm(self) -> None:
        if self._channel is not None:
            self._channel.send(Warm())
        else:
            self._needed.set()

    def _take(self, message: object) -> None:
        """Do what a message says."""
        match message:
            case Told(status):
                self._become(status)
            case Drafted(number, draft):
                if (job := self._jobs.get(number)) is not None and job.on_draft is not None:
                    job.on_draft(draft)
            case Filled(number, fill):
                if (job := self._jobs.get(number)) is not None:
                    self._end(job, fill)
            case Failed(number, kind, sentence):
                if (job := self._jobs.get(number)) is not None:
                    self._end(job, error_of(kind, sentence))
            case _:
                raise NotAMessage(f"its process sent {type(message).__name__} at the wrong time.")

    def _leave(self) -> None:
        self._connecting.cancel()

    # Ends

    def _become(self, status: EngineStatus) -> None:
        with self._lock:
            if not self._closed:
                self._status = status

    def _end(self, job: _Asked, result: Fill | PalimpsestError) -> None:
        with self._lock:
            self._jobs.pop(job.number, None)
        with suppress(InvalidStateError):  # `close` was quicker
            if isinstance(result, Fill):
                job.future.set_result(result)
            else:
                job.future.set_exception(result)

    def _give_up(self, why: str) -> None:
        """Fail everything that is under way; the next request tries again."""
        self._become(EngineStatus("error", why, exit_code=PalimpsestError.exit_code))
        with self._lock:
            self._needed.clear()
            jobs = list(self._jobs.values())
        for job in jobs:
            self._end(job, PalimpsestError(why))

    def _use_own(self, why: str) -> None:
        """Answer with an engine of this process from now on."""
        with self._lock:
            if self._closed:
                return
            self._why_own, self._own = f"{why} This editor has a model of its own.", self._open_own()
            if self._warm:
                self._own.warm()
            for job in list(self._jobs.values()):
                self._ask_own(job)
            self._jobs.clear()

    def _ask_own(self, job: _Asked) -> None:
        assert self._own is not None
        job.inner = self._own.submit(job.request, job.on_draft)
        if job.cancelled.is_set():
            job.inner.cancel()

        def copy(done: Future[Fill]) -> None:
            error = done.exception()
            assert error is None or isinstance(error, PalimpsestError)
            self._end(job, error or done.result())

        job.inner.future.add_done_callback(copy)
