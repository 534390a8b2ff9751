"""Own the engines of a machine, and answer every window that connects: the process behind `palimpsest engine`.

Windows with the same settings share an engine, which lets them take turns. A window that goes away takes its requests along.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec

from palimpsest_engine.engine import Engine, EngineSettings, EngineStatus, Job
from palimpsest_engine.errors import PalimpsestError
from palimpsest_engine.messages import (
    PROTOCOL,
    Cancel,
    Drafted,
    Failed,
    Filled,
    Goodbye,
    Hello,
    Hosted,
    Look,
    NotAMessage,
    Report,
    Retire,
    Submit,
    Told,
    Warm,
    Welcome,
    from_client,
)
from palimpsest_engine.request import Draft, Fill
from palimpsest_engine.shared.address import CannotShare, Place
from palimpsest_engine.shared.channel import Channel, Ended, listen

log = logging.getLogger("palimpsest.engine")

IDLE_SECONDS = 300.0
_HELLO_SECONDS = 5.0
_LOOK_SECONDS = 0.1  # between two looks at an engine's status, while a window is there
_LAST_FILLS_SECONDS = 60.0  # for the requests under way when the process is to end


@dataclass(eq=False, slots=True)
class _Shared:
    """An engine and the windows that use it."""

    engine: Engine
    windows: set[_Window] = field(default_factory=set)
    told: EngineStatus | None = None
    idle: asyncio.TimerHandle | None = None

    def tell(self) -> None:
        """Tell all windows the status, if it has changed."""
        if (now := self.engine.status()) != self.told:
            self.told = now
            for window in self.windows:
                window.channel.send(Told(now))


@dataclass(eq=False, slots=True)
class _Window:
    """A connection, after `Hello`, and its requests under way."""

    name: str
    channel: Channel
    shared: _Shared
    jobs: dict[int, Job] = field(default_factory=dict)


class Host:
    """Serves until nobody has been there for `idle` seconds, until a newer version wants the place, or until `retire`."""

    def __init__(
        self, open_engine: Callable[[EngineSettings], Engine], idle: float = IDLE_SECONDS, version: str = ""
    ) -> None:
        self._open, self._idle, self._version = open_engine, idle, version
        self._engines: dict[EngineSettings, _Shared] = {}
        self._channels: set[Channel] = set()
        self._numbers = itertools.count(1)
        self._end: Callable[[], None] = lambda: None
        self._nobody: asyncio.TimerHandle | None = None
        self._goodbye = ""
        self._since = time.monotonic()

    async def serve(self, place: Place, leave: Callable[[], None] = lambda: None) -> str:
        """Listen; return the reason why it ended. Raises OSError.

        The caller holds the lock of the place; `leave` gives it back, so that a successor can listen while the last requests
        are answered.
        """
        self._leave_place = leave
        self._loop = asyncio.get_running_loop()
        self._ended, self._anybody = asyncio.Event(), asyncio.Event()
        self._end = await listen(place.address, self._connected)
        if self._goodbye:  # a signal came meanwhile
            self._end()
        self._watch_for_nobody()
        looking = asyncio.create_task(self._look())
        await self._ended.wait()
        looking.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_FILLS_SECONDS):
                await self._last_fills()
        for shared in self._engines.values():
            shared.engine.close()
        await asyncio.gather(*(channel.close() for channel in list(self._channels)))
        return self._goodbye

    def retire(self, reason: str) -> None:
        """Take no more requests; end when those under way are answered. reason: a sentence for the windows."""
        if self._goodbye:
            return
        self._goodbye = reason
        self._end()
        self._leave_place()
        for shared in self._engines.values():
            for window in shared.windows:
                window.channel.send(Goodbye(reason))
        self._ended.set()

    async def _last_fills(self) -> None:
        while jobs := [
            job for shared in self._engines.values() for window in shared.windows for job in window.jobs.values()
        ]:
            done, _ = await asyncio.wait([asyncio.wrap_future(job.future) for job in jobs])
            for each in done:
                each.exception()  # told to its window already; asyncio wants it looked at
            await asyncio.sleep(0)

    async def _look(self) -> None:
        """Tell windows of what engines become on their own: loaded, or broken."""
        while True:
            await self._anybody.wait()
            await asyncio.sleep(_LOOK_SECONDS)
            for shared in self._engines.values():
                shared.tell()

    def _report(self) -> Report:
        hosted = (
            Hosted(shared.engine.status(), len(shared.windows), sum(len(window.jobs) for window in shared.windows))
            for shared in self._engines.values()
        )
        return Report(self._version, os.getpid(), time.monotonic() - self._since, tuple(hosted))

    # Windows

    async def _connected(self, channel: Channel) -> None:
        self._channels.add(channel)
        try:
            channel.refuse_strangers()
            async with asyncio.timeout(_HELLO_SECONDS):
                first = await channel.receive()
            if (window := self._welcome(first, channel)) is None:
                return
            try:
                while True:
                    self._take(window, from_client(await channel.receive()))
            finally:
                self._leave(window)
        except (Ended, TimeoutError, CannotShare):
            pass
        except NotAMessage as error:
            log.warning("a client is cut off: %s", error)
        except Exception:
            log.exception("a client is cut off")
        finally:
            self._channels.discard(channel)
            await channel.close()

    def _welcome(self, first: bytes, channel: Channel) -> _Window | None:
        """Answer `Hello`: let the window in, or say why not. A newer client takes the place of this process."""
        protocol, version = _who(first)
        if (protocol, _parts(version)) > (PROTOCOL, _parts(self._version)):
            self.retire(f"Palimpsest {version} has taken over from {self._version}.")
        if self._goodbye:
            channel.send(Goodbye(self._goodbye))
            return None
        if protocol < PROTOCOL:
            channel.send(
                Goodbye(f"The engine process is of Palimpsest {self._version}; restart the editor.", final=True)
            )
            return None
        hello = from_client(first)
        if isinstance(hello, Retire):
            self.retire(hello.reason)
            return None
        if isinstance(hello, Look):
            channel.send(self._report())
            return None
        if not isinstance(hello, Hello):
            raise NotAMessage(f"it began with {type(hello).__name__}.")
        shared = self._engine_for(hello.settings)
        window = _Window(f"window {next(self._numbers)}", channel, shared)
        shared.windows.add(window)
        channel.send(Welcome(PROTOCOL, self._version, os.getpid()))
        channel.send(Told(shared.engine.status()))
        return window

    def _take(self, window: _Window, message: object) -> None:
        """Do what a window wants."""
        match message:
            case Submit(number, request, drafts):
                if number in window.jobs:
                    raise NotAMessage(f"the number {number} is under way.")

                def on_draft(draft: Draft) -> None:
                    self._loop.call_soon_threadsafe(self._draft, window, number, draft)

                name = f"{window.name}, {request.client}" if request.client else window.name
                request = replace(request, client=name)
                job = window.shared.engine.submit(request, on_draft if drafts else None)
                window.jobs[number] = job
                job.future.add_done_callback(
                    lambda future: self._loop.call_soon_threadsafe(self._answer, window, number, future)
                )
            case Cancel(number):
                if number in window.jobs:
                    window.jobs[number].cancel()
            case Warm():
                window.shared.engine.warm()
            case Retire(reason):
                self.retire(reason)
            case _:
                raise NotAMessage(f"{type(message).__name__} came at the wrong time.")

    def _draft(self, window: _Window, number: int, draft: Draft) -> None:
        if number in window.jobs:
            window.channel.send(Drafted(number, draft), droppable=True)

    def _answer(self, window: _Window, number: int, future: Future[Fill]) -> None:
        if window.jobs.pop(number, None) is None:
            return
        window.shared.tell()
        if error := future.exception():
            sentence = str(error) if isinstance(error, PalimpsestError) else f"The fill failed: {type(error).__name__}"
            window.channel.send(Failed(number, type(error).__name__, sentence))
        else:
            window.channel.send(Filled(number, future.result()))

    def _leave(self, window: _Window) -> None:
        for job in window.jobs.values():
            job.cancel()
        window.jobs.clear()
        shared = window.shared
        shared.windows.discard(window)
        if not shared.windows:
            shared.idle = self._loop.call_later(self._idle, self._forget, shared)
        self._watch_for_nobody()

    # Engines

    def _engine_for(self, settings: EngineSettings) -> _Shared:
        """Return the engine with these settings; one that could not load is tried anew for a new window."""
        self._watch_for_nobody(cancel=True)
        shared = self._engines.get(settings)
        if shared is None or shared.engine.status().state == "error":
            shared = self._engines[settings] = _Shared(self._open(settings))
        if shared.idle is not None:
            shared.idle.cancel()
            shared.idle = None
        return shared

    def _forget(self, shared: _Shared) -> None:
        """Close an engine that no window has used for a while: its model's memory is free again."""
        shared.engine.close()
        self._engines = {settings: each for settings, each in self._engines.items() if each is not shared}

    def _watch_for_nobody(self, cancel: bool = False) -> None:
        """End after a while if no window is there."""
        if self._nobody is not None:
            self._nobody.cancel()
            self._nobody = None
        if cancel:
            self._anybody.set()
        elif not any(shared.windows for shared in self._engines.values()):
            self._anybody.clear()
            self._nobody = self._loop.call_later(self._idle, self.retire, "Nobody needed the engine for a while.")


def _who(first: bytes) -> tuple[int, str]:
    """Return the protocol and the version of a client from its first message, whatever version that is of."""
    try:
        match msgspec.msgpack.decode(first):
            case ["Hello", int(protocol), str(version), *_]:
                return protocol, version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return PROTOCOL, ""


def _parts(version: str) -> tuple[int, ...]:
    """Return the numbers of a version such as 0.12.1, for comparing; others count as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
