"""Observes a server process from the outside, as an editor sees it; knows the protocol, nothing of engines.

One keystroke is a `didChange` of one character, followed at once by `textDocument/inlineCompletion`. The clock starts
before both and stops twice: at the first answer, even an empty one, and at the last one (the first answer had a text,
or the final draft came and was fetched). The server is warm: it has answered at the place before the character, as
during real typing. If that answer foretold the character, the keystroke costs nothing; it is counted but not timed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from palimpsest_bench.server.client import Editor, Place, connected
from palimpsest_engine import PalimpsestError

_URI = "file:///bench/ledger.py"
_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 0.02
_LONG_ENOUGH = 12  # characters of code on a line to type into


@dataclass(frozen=True, slots=True)
class Keystroke:
    """The times of one keystroke, in milliseconds."""

    first_answer_ms: float
    settled_ms: float


@dataclass(frozen=True, slots=True)
class Observation:
    """The figures of one server process. initialize_ms, ready_ms: since its start."""

    model: str
    device: str
    initialize_ms: float
    ready_ms: float
    keystrokes: tuple[Keystroke, ...]
    foretold: int
    memory_mb: float


def percentiles(values: Sequence[float], *which: int) -> dict[str, float]:
    """Return percentiles, rounded, and the number of samples."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"p{each}": round(cuts[each - 1], 3) for each in which} | {"samples": len(values)}


def typing(text: str, keystrokes: int, lines: range | None = None) -> list[tuple[int, str]]:
    """Choose where to type: pairs of a line, from 0, and its text after the keystroke. lines: all if None.

    The lines are spread over the file, and each is cut off inside its code. None has a string or a comment, where nothing
    is offered automatically.
    """
    numbered = ((at, row) for at, row in enumerate(text.split("\n")) if lines is None or at in lines)
    rows = [(number, row) for number, row in numbered if len(row.strip()) >= _LONG_ENOUGH and not {*'"#'} & {*row}]
    plan = []
    for turn in range(keystrokes):
        number, row = rows[turn * len(rows) // keystrokes]
        indent = len(row) - len(row.lstrip())
        plan.append((number, row[: indent + 3 + 7 * turn % (len(row) - indent - 4)]))
    return plan


def cursors(text: str, count: int) -> list[int]:
    """Return the offsets of `count` places where `typing` types."""
    starts = [0]
    for row in text.split("\n"):
        starts.append(starts[-1] + len(row) + 1)
    return [starts[line] + len(so_far) for line, so_far in typing(text, count)]


def observe(command: Sequence[str], section: dict[str, Any], text: str, keystrokes: int) -> Observation:
    """Start a server, type into a document, and time it. section: the settings that the client sends."""
    return asyncio.run(_observe(command, section, text, keystrokes))


async def _observe(command: Sequence[str], section: dict[str, Any], text: str, keystrokes: int) -> Observation:
    begun = time.perf_counter()
    async with connected(command, section | {"drafts": True, "debounceMs": 0, "eagerness": "high"}) as editor:
        initialized = time.perf_counter()
        typist = Typist(editor)
        status = await typist.until_ready()
        ready = time.perf_counter()
        notes, foretold = await typist.type_all(text, keystrokes)
        memory = editor.resident_mb
    return Observation(
        model=status["model"],
        device=status["device"],
        initialize_ms=(initialized - begun) * 1000,
        ready_ms=(ready - begun) * 1000,
        keystrokes=tuple(notes),
        foretold=foretold,
        memory_mb=memory,
    )


class Typist:
    """Types into one document."""

    def __init__(self, editor: Editor, uri: str = _URI) -> None:
        self._editor = editor
        self._uri = uri
        self._version = 0
        self._text = ""
        self._rows: list[str] = []
        self._whole: tuple[int, str] | None = None  # the line that is cut off now, and its whole text
        self._final = asyncio.Event()

        def drafted(draft: dict[str, Any]) -> None:
            if draft["version"] == self._version:
                self._final.set()

        editor.finals[uri] = drafted

    async def until_ready(self) -> dict[str, Any]:
        """Wait until the checkpoint is loaded. Returns the status. Raises PalimpsestError if loading fails."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (status := await self._status())["state"] != "ready":
                if status["state"] == "error":
                    raise PalimpsestError(status["reason"])
                await asyncio.sleep(_LOOK_SECONDS)
        return status

    async def type_all(self, text: str, keystrokes: int, lines: range | None = None) -> tuple[list[Keystroke], int]:
        """Type keystrokes spread over a text. Returns their times and the number of foretold ones."""
        notes, foretold = list[Keystroke](), 0
        plan = typing(text, 4 * keystrokes + 4, lines)
        # Three more rounds replace the foretold ones.
        for line, so_far in (each for turn in range(4) for each in plan[turn::4]):
            if len(notes) > keystrokes:
                break
            note = await self.type_at(text, line, so_far)
            if note is None:
                foretold += 1
            else:
                notes.append(note)
        # The first one includes work that is done once (choosing kernels, loading grammars).
        return notes[1:], foretold

    async def type_at(self, text: str, line: int, so_far: str) -> Keystroke | None:
        """Type the last character of `so_far` in its place, and wait for the final answer; None if it was foretold."""
        self._cut(text, line, so_far[:-1])
        at, after = (line, len(so_far) - 1), (line, len(so_far))
        _, suggested = await self._settled(at)
        if suggested.startswith(so_far[-1]):
            return None
        self._version += 1
        begun = time.perf_counter()
        self._editor.change(self._uri, self._version, at, at, so_far[-1])
        first, _ = await self._settled(after)
        return Keystroke((first - begun) * 1000, (time.perf_counter() - begun) * 1000)

    async def _settled(self, cursor: Place) -> tuple[float, str]:
        """Ask, and again after the final draft. Returns the time of the first answer, and the text."""
        self._final.clear()
        text = await self._editor.suggested(self._uri, cursor)
        first = time.perf_counter()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            # If the server is idle, the empty answer was final.
            while not text and not self._final.is_set() and (await self._status())["state"] != "ready":
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._final.wait(), _LOOK_SECONDS)
        if not text and self._final.is_set():
            text = await self._editor.suggested(self._uri, cursor)
        return first, text

    def _cut(self, text: str, line: int, so_far: str) -> None:
        """Set the document to this text with one line cut off, and restore the line that was cut before."""
        if text != self._text:
            self._text, self._rows, self._whole = text, text.split("\n"), None
            self._version += 1
            if self._version == 1:
                self._editor.open(self._uri, "python", text)
            else:
                self._editor.replace(self._uri, self._version, text)
        if self._whole is not None:
            self._write(*self._whole)
        self._whole = line, self._rows[line]
        self._write(line, so_far)

    def _write(self, line: int, row: str) -> None:
        """Replace a line, which may be a cut one."""
        self._version += 1
        end = (line, len(self._rows[line]))
        self._editor.change(self._uri, self._version, (line, 0), end, row)

    async def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = await self._editor.request("palimpsest/status", None)
        return status
