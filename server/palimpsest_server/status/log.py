"""Write the log to standard error and to a file.

There is no code in it, unless the user asks for that: our messages are sentences, other libraries' messages come without
their arguments, and the texts of exceptions that may quote a document are left out.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from palimpsest_engine import PalimpsestError
from palimpsest_server.settings import LogLevel
from palimpsest_server.status.requests import current
from palimpsest_server.status.visible import visible

OURS = ("palimpsest_server", "palimpsest_engine", "palimpsest")

_ARGUMENT = re.compile(r"%(\(\w*\))?[-#0+]*[\d*]*(\.[\d*]+)?[a-zA-Z]")

# Their texts are about our program or the machine; the text of any other exception may quote a document.
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


# Lines


class _Lines(logging.Formatter):
    """Writes one line a record, and the traceback; with the id of the request that it belongs to."""

    def __init__(self) -> None:
        super().__init__()
        self.text = False

    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%Y-%m-%d %H:%M:%S")
        message = sentence(record, self.text)
        request = current.get()
        prefix = f"[{request.id}] " if request and not message.startswith(f"[{request.id}]") else ""
        line = f"{when}.{int(record.msecs):03d} {record.levelname.lower():7} {prefix}{message}"
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + "".join(_told(record.exc_info[1], self.text)).rstrip()
        return visible(line)


def sentence(record: logging.LogRecord, text: bool) -> str:
    """Return the message in one line. The arguments of other libraries may be anything, so `…` stands for them."""
    ours = record.name.split(".")[0] in OURS
    message = record.getMessage() if ours or text else f"{record.name}: {_ARGUMENT.sub('…', str(record.msg))}"
    return " ".join(message.splitlines())


def _told(error: BaseException, text: bool) -> Iterator[str]:
    """Yield a traceback, cause first, without messages that may quote a document."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _told(before, text)
        yield "\nand then:\n\n"
    yield from traceback.format_tb(error.__traceback__)
    yield named(error, text) + "\n"


def named(error: BaseException, text: bool) -> str:
    """Return the type of an error, with its message if that quotes no document."""
    kind = type(error).__name__
    return f"{kind}: {error}" if text or isinstance(error, _SPEAKABLE) else f"{kind} (palimpsest.logText shows more)"


class _Sink(logging.StreamHandler[TextIO]):
    """A stream: standard error or a file. fixed: the level was chosen on the command line."""

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
    """Log to standard error, and to a file, if there is one, that only the user can read.

    A level that is given here stays, whatever `configure` says. Raises OSError if the file cannot be written.
    """
    root = logging.getLogger()
    streams = [sys.stderr]
    if file is not None:
        streams.append(os.fdopen(_own(file), "a", encoding="utf-8", errors="backslashreplace"))
    logging.raiseExceptions = False  # a full disk, or an editor that reads no more, is not worth a traceback
    for handler in _sinks():
        root.removeHandler(handler)
        handler.close()
    for stream in streams:
        root.addHandler(_Sink(stream, level is not None))
    _set_level(level or "warning")
    # It warns of each request that a client cancels too late, which some do at every keystroke.
    logging.getLogger("pygls").setLevel(logging.ERROR)


def _own(file: Path) -> int:
    """Open a file for appending that is the user's own, and that nobody else can read from now on.

    A link is not followed: in a folder that others may write, it would be theirs to say what the log is appended to. Raises
    OSError, and PalimpsestError for what is no such file.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(file, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PalimpsestError(f"The log is not written to {file}, which is a link.") from error
        raise
    found = os.fstat(descriptor)
    if stat.S_ISCHR(found.st_mode):  # such as /dev/null
        return descriptor
    problem = ""
    if not stat.S_ISREG(found.st_mode):
        problem = "which is no file"
    elif found.st_nlink > 1:
        problem = "which has another name (a hard link)"
    elif hasattr(os, "getuid") and found.st_uid != os.getuid():
        problem = "which belongs to another user"
    if problem:
        os.close(descriptor)
        raise PalimpsestError(f"The log is not written to {file}, {problem}.")
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)
    return descriptor


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
