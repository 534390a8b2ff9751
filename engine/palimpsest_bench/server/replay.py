"""Replays typing sessions in an editor that asks after each keystroke; knows nothing of engines."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from palimpsest_bench.server.client import Editor, Place, position_of, text_of
from palimpsest_engine import PalimpsestError

_LOOK_AHEAD = 200  # keystrokes, the most that a suggestion may cover


@dataclass(frozen=True, slots=True)
class Open:
    """The document at the beginning of the session."""

    name: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One keystroke: a range replaced by a text, and the cursor afterwards."""

    start: Place
    end: Place
    text: str
    cursor: Place

    def apply(self, text: str) -> str:
        """Return the text after this change."""
        return text[: offset_of(text, self.start)] + self.text + text[offset_of(text, self.end) :]


@dataclass(frozen=True, slots=True)
class Move:
    """A move of the cursor."""

    cursor: Place


@dataclass(frozen=True, slots=True)
class Event:
    """An event, so many seconds after the beginning."""

    at: float
    what: Open | Change | Move | Literal["accept", "cancel"]


TypingSession = tuple[Event, ...]


def offset_of(text: str, place: Place) -> int:
    """Return the offset of a place in a text whose lines end with `\\n`."""
    start = 0
    for _ in range(place[0]):
        start = text.index("\n", start) + 1
    return start + place[1]


def behind(start: Place, text: str) -> Place:
    """Return the place after a text that stands at a place."""
    lines = text.count("\n")
    return start[0] + lines, len(text) - text.rfind("\n") - 1 if lines else start[1] + len(text)


def parse(lines: str) -> TypingSession:
    """Parse a session from its JSON lines; `fixtures/sessions/README.md` has the format."""
    return tuple(_event(json.loads(line)) for line in lines.splitlines())


def _event(row: dict[str, Any]) -> Event:
    at = row["at"] / 1000
    match row:
        case {"open": opened}:
            return Event(at, Open(opened["name"], opened["language"], opened["text"]))
        case {"change": [line, character, end_line, end_character, text]}:
            start = (line, character)
            cursor = tuple(row["cursor"]) if "cursor" in row else behind(start, text)
            return Event(at, Change(start, (end_line, end_character), text, cursor))
        case {"move": [line, character]}:
            return Event(at, Move((line, character)))
        case {"accept": True}:
            return Event(at, "accept")
        case {"cancel": True}:
            return Event(at, "cancel")
    raise ValueError(f"not an event of a session: {row}")


def sessions() -> dict[str, TypingSession]:
    """Read the sessions of the package, by name."""
    folder = importlib.resources.files("palimpsest_bench").joinpath("sessions")
    return {Path(each.name).stem: parse(each.read_text("utf-8")) for each in sorted(folder.iterdir(), key=str)}


def opened(session: TypingSession) -> Open:
    """Return the document of a session."""
    first = session[0].what
    assert isinstance(first, Open)
    return first


def final_text(session: TypingSession) -> str:
    """Return the text of the document at the end."""
    text = opened(session).text
    for event in session:
        if isinstance(event.what, Change):
            text = event.what.apply(text)
    return text


def first_keystrokes(session: TypingSession, count: int | None) -> TypingSession:
    """Return the session up to so many keystrokes; None means all of it."""
    typed = [at for at, event in enumerate(session) if isinstance(event.what, Change)]
    return session if count is None or count >= len(typed) else session[: typed[count]]


def middle_keystrokes(session: TypingSession, count: int) -> TypingSession:
    """Return a session of the middle keystrokes; its document has the text before the first of them."""
    typed = [at for at, event in enumerate(session) if isinstance(event.what, Change)]
    if count >= len(typed):
        return session
    first = (len(typed) - count) // 2
    begin, end = typed[first], typed[first + count]
    before = opened(session)
    document = Open(before.name, before.language, final_text(session[:begin]))
    return (Event(session[begin - 1].at, document), *session[begin:end])


@dataclass(slots=True)
class Notes:
    """The figures of a replay.

    answer_ms: from a keystroke to its answer, unless it was cancelled. final_ms: from a keystroke to the last change of the
    suggestion, for keystrokes with a new one. nfe: passes of the model in fills with a final draft. along: keystrokes that
    the suggestion on the screen had foretold. saved: keystrokes that accepting made unnecessary.
    """

    keystrokes: int = 0
    answer_ms: list[float] = field(default_factory=list)
    final_ms: list[float] = field(default_factory=list)
    nfe: list[int] = field(default_factory=list)
    shown: int = 0
    along: int = 0
    accepted: int = 0
    saved: int = 0


class Replay:
    """The replay of one session: asks after each keystroke, and again when the final draft has come."""

    def __init__(self, editor: Editor, session: TypingSession, uri: str) -> None:
        self.notes = Notes()
        self._editor = editor
        self._session = session
        self._uri = uri
        self._version = 1
        self._cursor: Place = (0, 0)
        self._at = 1  # the next event
        self._suggested = ""
        self._asked: tuple[int, asyncio.Future[Any]] | None = None
        self._pressed: float | None = None  # the time of the last key, unless it was foretold
        self._final_ms: float | None = None  # from that key to the last change of the suggestion
        document = opened(session)
        self.text = document.text
        editor.finals[uri] = self._final
        editor.open(uri, document.language, document.text)

    @property
    def over(self) -> bool:
        """Tell whether the session has ended."""
        return self._at == len(self._session)

    async def run(self, speed: float = 1.0, longest_pause: float = float("inf")) -> Notes:
        """Replay the rest of the session, `speed` times as fast; pauses are cut to `longest_pause` seconds."""
        due, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        while not self.over:
            pause = self._session[self._at].at - self._session[self._at - 1].at
            due += min(pause, longest_pause) / speed
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.step()
        await self.answered()
        self.end()
        return self.notes

    def step(self) -> None:
        """Do the next event at once."""
        what = self._session[self._at].what
        self._at += 1
        self.end()
        match what:
            case Change():
                self.notes.keystrokes += 1
                self._type(what)
            case Move():
                self._cursor, self._suggested = what.cursor, ""
                self._ask()
            case "accept":
                self._accept()
            case "cancel":
                self._suggested = ""
                self._cancel()

    async def answered(self) -> None:
        """Wait for the outstanding answer, if there is one."""
        if self._asked is not None:
            with suppress(PalimpsestError):
                await asyncio.shield(self._asked[1])

    def close(self) -> None:
        """Close the document."""
        self._cancel()
        del self._editor.finals[self._uri]
        self._editor.close(self._uri)

    def _type(self, change: Change) -> None:
        begun = time.perf_counter()
        foretold = change.start == change.end == self._cursor and self._suggested.startswith(change.text)
        if foretold and change.cursor == behind(change.start, change.text):
            self.notes.along += 1
            self._suggested = self._suggested[len(change.text) :]
        else:
            self._suggested, self._pressed = "", begun
        self._version += 1
        self._cancel()
        self._editor.change(self._uri, self._version, change.start, change.end, change.text)
        self._cursor = change.cursor
        self._ask(begun)
        self.text = change.apply(self.text)

    def _ask(self, begun: float | None = None) -> None:
        """Ask at the cursor, and cancel the previous request."""
        self._cancel()
        number, answer = self._asked = self._editor.inline(self._uri, self._cursor)

        def take(done: asyncio.Future[Any]) -> None:
            if done.cancelled() or done.exception() or self._asked is None or self._asked[0] != number:
                return
            if begun is not None:
                self.notes.answer_ms.append((time.perf_counter() - begun) * 1000)
            if text := text_of(done.result()):
                self.notes.shown += not self._suggested
                if self._pressed is not None and text != self._suggested:
                    self._final_ms = (time.perf_counter() - self._pressed) * 1000
                self._suggested = text

        answer.add_done_callback(take)

    def end(self) -> None:
        """Record the time of the last key's suggestion, because no change of it can follow."""
        if self._final_ms is not None:
            self.notes.final_ms.append(self._final_ms)
        self._pressed = self._final_ms = None

    def _cancel(self) -> None:
        if self._asked is not None and not self._asked[1].done():
            self._editor.notify("$/cancelRequest", {"id": self._asked[0]})
        self._asked = None

    def _final(self, draft: dict[str, Any]) -> None:
        waiting = self._asked is not None and not self._asked[1].done()
        here = draft["version"] == self._version and draft["position"] == position_of(self._cursor)
        if draft["step"]:  # a refused fill has no steps
            self.notes.nfe.append(draft["step"])
        if here and draft["text"] and not waiting:
            self._ask()

    def _accept(self) -> None:
        """Accept the suggestion if it is exactly what is typed next, and skip these keystrokes."""
        if not self._suggested:
            return
        wanted = Change(self._cursor, self._cursor, self._suggested, behind(self._cursor, self._suggested))
        after, text, typed = wanted.apply(self.text), self.text, 0
        for at, event in enumerate(self._session[self._at : self._at + _LOOK_AHEAD], self._at + 1):
            if isinstance(event.what, Change):
                text = event.what.apply(text)
                typed += 1
                if text == after:
                    self.notes.accepted += 1
                    self.notes.saved += typed
                    self._at = at
                    self._type(wanted)
                    self._cursor = event.what.cursor
                    return
