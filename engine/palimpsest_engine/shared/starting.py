"""Start the engine process of a user and machine, or find the one that runs; and hold the place while it listens."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from palimpsest_engine.errors import PalimpsestError
from palimpsest_engine.messages import Look, NotAMessage, Report, Retire, from_engine
from palimpsest_engine.shared import address, channel
from palimpsest_engine.shared.address import CannotShare, Place
from palimpsest_engine.shared.channel import Channel, Ended

START_SECONDS = 30.0  # a cold disk and a virus scanner; the process listens before it loads anything
_LOOK_SECONDS = 0.03
_REPORT_SECONDS = 5.0
_LOST_RACE_SECONDS = 1.0  # after which one that found the place taken, by a process that ended, is started again
_LONGEST_LOG = 1 << 20
# Windows knows no sessions: there Ctrl+C and the end of a console reach all of its processes, unless they are apart from it.
_APART = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
_started: list[subprocess.Popen[bytes]] = []  # kept until they end, so that none becomes a zombie


class Taken(PalimpsestError):
    """Another process listens at the place."""


class Starter:
    """Connects to the engine process. command: starts it; empty to use only one that runs."""

    def __init__(self, command: Sequence[str], place: Callable[[], Place] = address.place) -> None:
        self._command, self.place = tuple(command), place

    async def connect(self) -> Channel:
        """Connect, and start the process if there is none. Raises CannotShare."""
        place, deadline = self.place(), time.monotonic() + START_SECONDS
        if found := await _met(place):
            return found
        while time.monotonic() < deadline:
            process, begun = self._start(place), time.monotonic()
            while time.monotonic() < deadline:
                await asyncio.sleep(_LOOK_SECONDS)
                if found := await _met(place):
                    return found
                if (code := process.poll()) not in (None, 0):
                    raise CannotShare(
                        f"The engine cannot be shared: its process ended with {code}: {_last(place.log)}."
                    )
                if code == 0 and time.monotonic() - begun > _LOST_RACE_SECONDS:
                    break  # it left the place to another one, which is gone
        raise CannotShare(f"The engine cannot be shared: its process did not start within {START_SECONDS:.0f} s.")

    def _start(self, place: Place) -> subprocess.Popen[bytes]:
        """Start the process, in a session of its own, so that it outlives the editor that needed it first."""
        if not self._command:
            raise CannotShare("The engine cannot be shared: there is no engine process.")
        _started[:] = [process for process in _started if process.poll() is None]
        try:
            with open(place.log, "ab", opener=_private) as log:
                if log.tell() > _LONGEST_LOG:
                    log.truncate(0)
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=os.path.abspath(os.sep),  # it holds no folder of anybody's
                    start_new_session=True,
                    creationflags=_APART,
                )
        except OSError as error:
            raise CannotShare(
                f"The engine cannot be shared: its process cannot be started ({error.strerror})."
            ) from None
        _started.append(process)
        return process


@contextmanager
def holding(place: Place) -> Iterator[Callable[[], None]]:
    """Hold the lock of a place; yield what gives it back early. Raises Taken, and OSError if the folder cannot be written."""
    from filelock import FileLock, Timeout  # servers need it not, and it takes a megabyte

    lock = FileLock(place.lock, timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        raise Taken("An engine process runs already.") from None
    try:
        yield lambda: lock.release(force=True)
    finally:
        lock.release(force=True)


async def report(place: Place) -> Report | None:
    """Return what the engine process says of itself; None if there is none. Raises CannotShare."""
    try:
        async with asyncio.timeout(_REPORT_SECONDS):
            while (found := await _met(place)) is not None:
                try:
                    found.send(Look())
                    answer = from_engine(await found.receive())
                    return answer if isinstance(answer, Report) else None
                except Ended:  # it was killed before it saw us, and its socket is about to go; or it turns us away
                    await asyncio.sleep(_LOOK_SECONDS)
                finally:
                    await found.close()
    except (TimeoutError, NotAMessage):
        raise CannotShare("The engine process does not answer.") from None
    return None


async def retire(place: Place, reason: str) -> bool:
    """Ask the engine process to end after what is under way; return whether there was one. Raises CannotShare."""
    if (found := await _met(place)) is None:
        return False
    found.send(Retire(reason))
    await found.close()
    return True


async def _met(place: Place) -> Channel | None:
    try:
        return await channel.connect(place.address)
    except OSError:
        return None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _last(log: Path) -> str:
    """Return the last line of a log, for a sentence."""
    try:
        lines = log.read_text("utf-8", "replace").split("\n")
    except OSError:
        return "it left no log"
    return next((line.strip().rstrip(".") for line in reversed(lines) if line.strip()), "it said nothing")
