"""A terminal with a program in it: what is typed goes in, what is on the screen can be read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

from editors.screen import BACKGROUND, FOREGROUND, Cell
from editors.screen import Screen as Picture

SIZE = 100, 30  # columns, lines
BEYOND = re.compile(  # what programs ask newer terminals, and pyte would print or stumble over
    rb"\x1bP.*?\x1b\\|\x1b\[\?[0-9;]*(?:\$p|n|u)|\x1b\[[<>=][0-9;]*u|\x1b\[[0-9;]*:[0-9;:]*m", re.DOTALL
)
# The beginning of a sequence, when its end is still to be read.
BEGUN = re.compile(rb"\x1b(?:\[[0-9;:?<>=$]*|P(?:(?!\x1b\\).)*)?\Z", re.DOTALL)

NAMED = {
    "black": 0x2E3436,
    "red": 0xEF5350,
    "green": 0x8BC34A,
    "brown": 0xD7BA7D,
    "blue": 0x64A0F0,
    "magenta": 0xC586C0,
    "cyan": 0x4EC9B0,
    "white": 0xD4D4D4,
}


class Screen(pyte.Screen):
    """One that answers when it is asked what it is."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        super().__init__(*SIZE)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        """To the program."""
        self._answer(data)


class Terminal:
    """A program in a terminal of its own, as xterm is one."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        columns, lines = SIZE
        self._screen = Screen(self.send)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        whole = {**os.environ, **environment, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=whole,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, keys: str) -> None:
        """As if typed."""
        os.write(self._ours, keys.encode())

    def lines(self) -> list[str]:
        """Return the lines of the screen."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def text(self) -> str:
        """The same, as one text."""
        return "\n".join(self.lines()).rstrip() + "\n"

    def svg(self) -> str:
        """The same, as a picture."""
        columns, lines = SIZE
        looks: dict[tuple[object, ...], int] = {}
        with self._lock:
            rows = [[self._screen.buffer[row][column] for column in range(columns)] for row in range(lines)]
            cursor = (self._screen.cursor.y, self._screen.cursor.x)
        cells = [
            [Cell(char.data, looks.setdefault((char.fg, char.bg, *char[3:]), len(looks))) for char in row]
            for row in rows
        ]
        styles = {
            number: {
                "foreground": _color(str(look[0]), FOREGROUND),
                "background": _color(str(look[1]), BACKGROUND),
                "bold": look[2],
                "italic": look[3],
                "reverse": look[6],
            }
            for look, number in looks.items()
        }
        return Picture(columns, lines, cells, styles, cursor).svg()

    def close(self) -> None:
        """End the program, and what it started in its session, if it is there still."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._reader.join(5)
        os.close(self._ours)

    def _read(self) -> None:
        rest = b""
        with contextlib.suppress(OSError):  # the program has gone
            while data := os.read(self._ours, 65536):
                whole, rest = parted(rest + data)
                with self._lock:
                    self._stream.feed(BEYOND.sub(b"", whole))


def parted(data: bytes) -> tuple[bytes, bytes]:
    """Return what can be shown, and the beginning of a sequence whose end has not been read yet."""
    begun = BEGUN.search(data)
    return (data[: begun.start()], data[begun.start() :]) if begun else (data, b"")


def _color(name: str, default: int) -> int:
    name = name.removeprefix("bright")
    if name == "default":
        return default
    return NAMED.get(name) if name in NAMED else int(name, 16)  # type: ignore[return-value]
