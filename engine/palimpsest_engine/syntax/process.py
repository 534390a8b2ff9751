"""Run the process that parses: start it, ask it, and end it when it crashes or takes too long. Knows no gate, no outline.

tree-sitter's grammars are C: some texts crash them, others keep them busy for minutes, and nothing can stop them from
inside. One process (`worker.py`) does the work for all threads of this one.

After a loss, texts of its language and of at least half its size are not looked at for a while: each keystroke would
otherwise wait for the deadline again.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import marshal
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

from palimpsest_engine.syntax import worker
from palimpsest_engine.syntax.worker import Question, receive, send

__all__ = ["MARGIN", "WORKER", "Asked", "Lost", "Process"]

log = logging.getLogger("palimpsest.engine")

MARGIN = 1.0  # seconds that an answer may take beyond the budget: a grammar's wheel and queries are read in them
_START = 20.0  # seconds until it is there: a machine that has just been started reads everything from its disk
_REST = 10.0  # seconds
_BREATH = 0.01  # seconds
_CROWDED = 3  # times as long as it may work, an answer may take: others keep the processor busy
_APART = os.name == "posix"  # elsewhere a socket cannot be handed to a process like this, and the parsing is done here
_LONGEST = 1 << 26  # bytes of an answer
_ENGINE = str(Path(__file__).parents[2])
_CODE = "import sys; sys.path[:] = {path!r}; from runpy import run_module; run_module({module!r}, run_name='__main__')"

# kind, key, what to make it of (None: it is there), method, arguments
Asked: TypeAlias = tuple[str, int, tuple[Any, ...] | None, str, tuple[Any, ...]]


class Lost(Exception):
    """The process ended, or was ended, over a text. Says why nothing is known of that text."""


class Process:
    """The process that parses, started when it is first asked, and again after each end. For all threads."""

    def __init__(self) -> None:
        self.started = 0
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._forgotten = deque[int]()
        self._resting: dict[str, tuple[float, int, str]] = {}
        self._here: dict[int, Any] = {}  # what the process would keep, where there is none

    def ask(self, grammar: str, size: int, patience: float, asked: Asked) -> dict[str, Any]:
        """Ask about a text of so many characters, and return the answer, which may take `patience` seconds.

        They are seconds of work, where the system tells them. Raises Lost. Every other thread waits meanwhile.
        """
        with self._lock:
            if not _APART:
                while self._forgotten:
                    self._here.pop(self._forgotten.popleft(), None)
                return worker.answer(self._here, (patience, [], *asked))
            until, smallest, why = self._resting.get(grammar, (0.0, 0, ""))
            if size >= smallest and monotonic() < until:
                raise Lost(f"a moment ago {why}")
            channel = self._running()
            forgotten = [self._forgotten.popleft() for _ in range(len(self._forgotten))]
            # The process has an alarm of its own, in case that this one ends meanwhile.
            question: Question = (patience + MARGIN, forgotten, *asked)
            message = marshal.dumps(question)
            try:
                channel.settimeout(patience)
                send(channel, message)
                self._wait(channel, patience)
                answer: dict[str, Any] = json.loads(receive(channel, _LONGEST))
                return answer
            except TimeoutError:
                reason = f"parsing the {grammar} took over {patience:g} s"
            except (OSError, EOFError, ValueError):
                reason = f"the parser for {grammar} crashed"
            except BaseException:
                self.end()  # its answer would be taken for the next question's
                raise
            self.end()
            self._resting[grammar] = monotonic() + _REST, size // 2, reason
            log.warning("%s, on a text of %d characters; the process that parses was ended", reason, size)
            raise Lost(reason)

    def _wait(self, channel: socket.socket, patience: float) -> None:
        """Wait until an answer begins. Raises TimeoutError once the process has worked on it for so long."""
        begun, until = self._worked(), monotonic() + _CROWDED * patience
        while True:
            try:
                channel.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                left = patience - (self._worked() - begun)
                if left <= 0 or monotonic() > until:
                    raise
                channel.settimeout(max(_BREATH, min(left, until - monotonic())))
        channel.settimeout(patience)

    def _worked(self) -> float:
        """Return for how many seconds the process has worked, which on a busy machine are fewer than have gone by."""
        if sys.platform != "linux" or self._process is None:
            return monotonic()
        with contextlib.suppress(OSError):
            return time.clock_gettime(~self._process.pid << 3 | 2)  # what clock_getcpuclockid(3) says
        return inf  # it has ended

    def warm(self) -> None:
        """Start the process, if it does not run. If it cannot be started, the next question says so."""
        with self._lock, contextlib.suppress(Lost):
            self._running()

    def _running(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:
            self.end()  # it was ended between two questions, by no text
        return self._channel or self._start()

    def _start(self) -> socket.socket:
        """Start the process and wait for it: in no folder of the user's, and with our own path for modules."""
        path = [_ENGINE, *(each for each in sys.path if os.path.isabs(each))]
        code = _CODE.format(path=path, module="palimpsest_engine.syntax.worker")
        try:
            self._channel, other = socket.socketpair()
            with other:
                self._process = subprocess.Popen(
                    # -S: the path has what `site` would add. -P: no module comes from the folder that it starts in.
                    [sys.executable, "-P", "-S", "-c", code],
                    stdin=other.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=os.sep,
                )
            self._channel.settimeout(_START)
            send(self._channel, marshal.dumps((_START, [], "", 0, None, "", ())))
            receive(self._channel, _LONGEST)
        except (OSError, EOFError, ValueError) as error:
            self.end()
            raise Lost(f"the process that parses cannot be started: {error or 'it ended'}") from error
        except BaseException:
            self.end()
            raise
        self.started += 1
        return self._channel

    def forget(self, key: int) -> None:
        """Have the process drop a gate or an outline when it is asked next. Waits for nothing."""
        self._forgotten.append(key)

    def end(self) -> None:
        """End the process, if it runs."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None

    def disown(self) -> None:
        """Close a fork's copy of the channel; the process belongs to the parent of this one."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.returncode = 0
        self._channel = self._process = None
        self._lock = threading.Lock()


WORKER = Process()
atexit.register(WORKER.end)
if sys.platform != "win32":  # where nothing forks
    os.register_at_fork(after_in_child=WORKER.disown)
