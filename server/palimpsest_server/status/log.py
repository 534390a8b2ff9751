"""The log: requests with ids and timings, on standard error, in a file, and at the client; knows no LSP types.

There is no code in it, unless the user asks for that: messages are sentences of ours, other libraries' messages come
without what they would fill in, and the texts of exceptions that may quote something are left out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import traceback
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident
from time import monotonic, perf_counter
from typing import TextIO

from palimpsest_engine import PalimpsestError
from palimpsest_server.settings import LogLevel

logger = logging.getLogger(__name__)

OURS = ("palimpsest_server", "palimpsest_engine", "palimpsest")
KINDS = {logging.ERROR: 1, logging.WARNING: 2, logging.INFO: 3}  # the numbers of LSP's MessageType

_KEPT = 20
_A_MINUTE = 20
_REMEMBERED = 256
# What these say is about our program or the machine; the text of any other exception may quote a document.
_SPEAKABLE = (
    PalimpsestError,
    OSError,
    ImportError,
    MemoryError,
    RuntimeError,
    ArithmeticError,
    TypeError,
    AttributeError,
    NameError,
)


# Requests


@dataclass(frozen=True, slots=True)
class Answered:
    """A request for a fill that had its answer. reason: why it is empty, or ""; ms: until then; source: "cache", "model",
    "draft", or "" for an empty one."""

    id: str
    method: str
    reason: str
    ms: float
    source: str


@dataclass(slots=True)
class _Open:
    """A request under way."""

    id: str
    begun: float
    answered: bool = False


_current: ContextVar[_Open | None] = ContextVar("palimpsest_request", default=None)


class Requests:
    """Numbers the requests for fills, logs how each of them ended, keeps the last ones and counts all.

    log_text: the lines may show the text that was offered.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.log_text = False
        self.recent: deque[Answered] = deque(maxlen=_KEPT)
        self._clock = clock
        self._begun = 0
        self._counts: Counter[str] = Counter()

    @contextmanager
    def under_way(self, method: str) -> Iterator[str]:
        """A request is being worked on; its id. What is logged meanwhile, in this task, has the id.

        Being cancelled and failing are answers, too; any other is to be told to `answered`.
        """
        request = self._new()
        token = _current.set(request)
        try:
            yield request.id
        except asyncio.CancelledError:
            if not request.answered:
                self.answered(method, "cancelled")
            raise
        except Exception as error:
            if not request.answered:
                self.answered(method, f"failed: {type(error).__name__}")
            raise
        finally:
            _current.reset(token)

    def answered(self, method: str, reason: str = "", source: str = "", text: str = "") -> None:
        """The request under way in this task has its answer: an empty one, if there is a reason."""
        request = _current.get() or self._new()
        request.answered = True
        end = Answered(request.id, method, reason, round((self._clock() - request.begun) * 1000, 1), source)
        self.recent.append(end)
        self._counts["empty" if reason else source] += 1
        what = f"nothing: {reason}" if reason else f"offered, {source}" if source else "offered"
        shown = f" {text!r}" if text and self.log_text else ""
        logger.info("[%s] %s %.1f ms, %s%s", request.id, method, end.ms, what, shown)

    def counters(self) -> dict[str, int]:
        """How many requests there were, and what came of them."""
        counts = self._counts
        named = {name: counts[name] for name in ("cache", "model", "draft", "empty")}
        return {"requests": sum(counts.values()), **named}

    def _new(self) -> _Open:
        self._begun += 1
        return _Open(f"r{self._begun}", self._clock())


# Lines


class _Lines(logging.Formatter):
    """One line a record, and the traceback; with the id of the request that it belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self.text = False

    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%Y-%m-%d %H:%M:%S")
        message = _sentence(record, self.text)
        request = _current.get()
        prefix = f"[{request.id}] " if request and not message.startswith(f"[{request.id}]") else ""
        line = f"{when}.{int(record.msecs):03d} {record.levelname.lower():7} {prefix}{message}"
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + "".join(_told(record.exc_info[1], self.text)).rstrip()
        return line


def _sentence(record: logging.LogRecord, text: bool) -> str:
    """The message in one line. Other people's may have anything in them, so theirs are shown before they are filled in."""
    ours = record.name.split(".")[0] in OURS
    message = record.getMessage() if ours or text else f"{record.name}: {record.msg}"
    return " ".join(message.splitlines())


def _told(error: BaseException, text: bool) -> Iterator[str]:
    """A traceback, cause first, without messages that may quote a document."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _told(before, text)
        yield "\nand then:\n\n"
    yield from traceback.format_tb(error.__traceback__)
    yield _named(error, text) + "\n"


def _named(error: BaseException, text: bool) -> str:
    kind = type(error).__name__
    return f"{kind}: {error}" if text or isinstance(error, _SPEAKABLE) else f"{kind} (palimpsest.logText shows more)"


class _Sink(logging.StreamHandler[TextIO]):
    """Standard error or a file. fixed: the level was chosen on the command line."""

    def __init__(self, stream: TextIO, fixed: bool) -> None:
        super().__init__(stream)
        self.fixed = fixed
        self.lines = _Lines()
        self.setFormatter(self.lines)

    def close(self) -> None:
        """Close the file; standard error stays."""
        super().close()
        if self.stream is not sys.__stderr__ and self.stream is not sys.stderr:
            self.stream.close()


def set_up(level: LogLevel | None = None, file: Path | None = None) -> None:
    """Log to standard error, and to a file if there is one, which nobody else can read. A level that is given here stays,
    whatever `configure` says. Raises OSError if the file cannot be written."""
    root = logging.getLogger()
    streams = [sys.stderr]
    if file is not None:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        streams.append(os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace"))
    logging.raiseExceptions = False  # a full disk, or an editor that reads no more, is no reason to say more
    for handler in _sinks():
        root.removeHandler(handler)
        handler.close()
    for stream in streams:
        root.addHandler(_Sink(stream, level is not None))
    _set_level(level or "warning")
    # It warns of each request that a client cancels too late, which some do at every keystroke.
    logging.getLogger("pygls").setLevel(logging.ERROR)


def configure(level: LogLevel, text: bool) -> None:
    """Take up the settings `logLevel` and `logText`."""
    sinks = _sinks()
    for sink in sinks:
        sink.lines.text = text
    if not any(sink.fixed for sink in sinks):
        _set_level(level)


def _sinks() -> list[_Sink]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Sink)]


def _set_level(level: LogLevel) -> None:
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())


# The client


class ClientLog(logging.Handler):
    """Passes our own errors, warnings and, if they are logged at all, information on to the client.

    send: takes one of `KINDS` and the message, on the event loop. post: has a function called there, from any thread.
    The same message goes once, and so many of a level in a minute; what is logged while one is sent does not go at all.
    """

    def __init__(
        self,
        send: Callable[[int, str], object],
        post: Callable[..., object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(logging.INFO)
        self._send = send
        self._post = post
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._minutes: dict[int, _Minute] = {}
        self._sending = 0
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Hop to the event loop."""
        if self._sending == get_ident() or record.name.split(".")[0] not in OURS:
            return
        message = _sentence(record, text=False)
        if record.exc_info and record.exc_info[1] is not None:
            message += f" ({_named(record.exc_info[1], text=False)})"
        level = max(known for known in KINDS if known <= record.levelno)
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self._post(self._say, level, message)

    def close(self) -> None:
        """No more, for good."""
        logging.getLogger().removeHandler(self)
        super().close()

    def _say(self, level: int, message: str) -> None:
        if message in self._seen:
            self._seen.move_to_end(message)
            return
        self._seen[message] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        now = self._clock()
        minute = self._minutes.get(level)
        if minute is None or now - minute.begun >= 60:
            if minute and minute.left_out:
                self._tell(level, f"{minute.left_out} messages were left out; they are in the log on standard error")
            minute = self._minutes[level] = _Minute(now)
        if minute.said < _A_MINUTE:
            minute.said += 1
            self._tell(level, message)
        else:
            minute.left_out += 1

    def _tell(self, level: int, message: str) -> None:
        self._sending = get_ident()
        try:
            self._send(KINDS[level], message)
        except Exception:
            pass  # the client has gone, and to log that would lead here again
        finally:
            self._sending = 0


@dataclass(slots=True)
class _Minute:
    begun: float
    said: int = 0
    left_out: int = 0
