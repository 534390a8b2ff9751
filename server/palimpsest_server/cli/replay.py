"""Replays typing sessions against a server process, as an editor does it; knows the protocol, nothing of engines.

The client is our own, a page long: it has to cost less than the server it measures.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from palimpsest_engine import PalimpsestError

Place = tuple[int, int]  # line and character; the sessions are ASCII, so those are code points

_INLINE = "textDocument/inlineCompletion"
_PATIENCE_SECONDS = 60.0
_LOOK_AHEAD = 200  # keystrokes: as far as a suggestion may reach


@dataclass(frozen=True, slots=True)
class Open:
    """The document, as it is when the session begins."""

    name: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One keystroke: a range replaced by a text, and where the cursor is then."""

    start: Place
    end: Place
    text: str
    cursor: Place

    def apply(self, text: str) -> str:
        """The text after it."""
        return text[: offset_of(text, self.start)] + self.text + text[offset_of(text, self.end) :]


@dataclass(frozen=True, slots=True)
class Move:
    """The cursor goes elsewhere."""

    cursor: Place


@dataclass(frozen=True, slots=True)
class Event:
    """What happens so many seconds after the beginning."""

    at: float
    what: Open | Change | Move | Literal["accept", "cancel"]


Session = tuple[Event, ...]


def offset_of(text: str, place: Place) -> int:
    """The offset of a place in a text whose lines end with `\\n`."""
    start = 0
    for _ in range(place[0]):
        start = text.index("\n", start) + 1
    return start + place[1]


def behind(start: Place, text: str) -> Place:
    """The place behind a text that stands at a place."""
    lines = text.count("\n")
    return start[0] + lines, len(text) - text.rfind("\n") - 1 if lines else start[1] + len(text)


def parse(lines: str) -> Session:
    """A session from its JSON lines; `fixtures/sessions/README.md` has the format."""
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


def sessions() -> dict[str, Session]:
    """The sessions of the package, by name."""
    folder = importlib.resources.files(__package__).joinpath("sessions")
    return {Path(each.name).stem: parse(each.read_text("utf-8")) for each in sorted(folder.iterdir(), key=str)}


def opened(session: Session) -> Open:
    """The document of a session."""
    first = session[0].what
    assert isinstance(first, Open)
    return first


def final_text(session: Session) -> str:
    """What the document reads at the end."""
    text = opened(session).text
    for event in session:
        if isinstance(event.what, Change):
            text = event.what.apply(text)
    return text


def first_keystrokes(session: Session, count: int | None) -> Session:
    """The session up to so many keystrokes; None for all of it."""
    typed = [at for at, event in enumerate(session) if isinstance(event.what, Change)]
    return session if count is None or count >= len(typed) else session[: typed[count]]


class Editor:
    """Speaks to one server over its standard streams. Drafts and the status are kept as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.finals: dict[str, Any] = {}  # by URI: called when the final draft comes
        self._reading = asyncio.create_task(self._read())

    @property
    def resident_mb(self) -> float:
        """Resident memory of the server, in millions of bytes."""
        return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, method: str, params: Any) -> tuple[int, asyncio.Future[Any]]:
        """Send a request: its id, and what will have the result or raise a PalimpsestError."""
        self._last += 1
        answer = asyncio.get_running_loop().create_future()
        self._pending[self._last] = answer
        self._send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        return self._last, answer

    async def request(self, method: str, params: Any) -> Any:
        """Send a request and wait for the result."""
        return await asyncio.wait_for(self.ask(method, params)[1], _PATIENCE_SECONDS)

    async def counters(self) -> dict[str, int]:
        """What the server has counted. Raises PalimpsestError if it does not count."""
        status = await self.request("palimpsest/status", None)
        counters = status.get("counters")
        if not isinstance(counters, dict) or "model" not in counters:
            raise PalimpsestError("the server's status has no counters")
        return counters

    def open(self, uri: str, language: str, text: str) -> None:
        """`didOpen`, as version 1."""
        item = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def close(self, uri: str) -> None:
        """`didClose`."""
        self.notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def change(self, uri: str, version: int, start: Place, end: Place, text: str) -> None:
        """`didChange` of one range."""
        change = {"range": {"start": _position(start), "end": _position(end)}, "text": text}
        document = {"uri": uri, "version": version}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})

    def inline(self, uri: str, cursor: Place) -> tuple[int, asyncio.Future[Any]]:
        """Ask for ghost text as an editor does while somebody types."""
        document = {"uri": uri}
        return self.ask(
            _INLINE, {"textDocument": document, "position": _position(cursor), "context": {"triggerKind": 2}}
        )

    async def stop(self) -> None:
        """Shut the server down, in the order of the protocol."""
        await self.request("shutdown", None)
        self.notify("exit", None)
        await asyncio.wait_for(self._process.wait(), _PATIENCE_SECONDS)

    async def end(self) -> None:
        """End the process, if it has not ended."""
        self._reading.cancel()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        body = json.dumps(message).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while header := await self._process.stdout.readuntil(b"\r\n\r\n"):
                fields = dict(line.split(b": ", 1) for line in header.strip().split(b"\r\n"))
                self._take(json.loads(await self._process.stdout.readexactly(int(fields[b"Content-Length"]))))
        except asyncio.IncompleteReadError:
            for waiting in self._pending.values():
                if not waiting.done():
                    waiting.set_exception(PalimpsestError("the server has ended"))

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "palimpsest/draft", "params": {"uri": uri, "final": True}} if uri in self.finals:
                self.finals[uri](message["params"])
            case {"method": _, "id": asked}:
                self._send({"jsonrpc": "2.0", "id": asked, "result": None})
            case {"id": int(answered)} if not (waiting := self._pending.pop(answered)).done():
                if "error" in message:
                    waiting.set_exception(PalimpsestError(f"the server answered: {message['error'].get('message')}"))
                else:
                    waiting.set_result(message.get("result"))


def _position(place: Place) -> dict[str, int]:
    return {"line": place[0], "character": place[1]}


@asynccontextmanager
async def editor(command: Sequence[str], section: dict[str, Any]) -> AsyncIterator[Editor]:
    """An editor with a server that is ready to be typed into; section: the settings."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**26)
    connected = Editor(process)
    try:
        options = {"processId": None, "capabilities": {}, "initializationOptions": {"palimpsest": section}}
        await connected.request("initialize", options | {"rootUri": None})
        connected.notify("initialized", {})
        yield connected
        await connected.stop()
    finally:
        await connected.end()


@dataclass(slots=True)
class Notes:
    """What a replay was like. answer_ms: from a keystroke to its answer, for those that were not cancelled.

    along: keystrokes that the suggestion on screen had foretold. saved: keystrokes that accepting made unnecessary.
    """

    keystrokes: int = 0
    answer_ms: list[float] = field(default_factory=list)
    shown: int = 0
    along: int = 0
    accepted: int = 0
    saved: int = 0


class Replay:
    """One session going on in an editor: asks after each keystroke, and asks again when the final draft has come."""

    def __init__(self, editor: Editor, session: Session, uri: str) -> None:
        self.notes = Notes()
        self._editor = editor
        self._session = session
        self._uri = uri
        self._version = 1
        self._cursor: Place = (0, 0)
        self._at = 1  # the next event
        self._suggested = ""
        self._asked: tuple[int, asyncio.Future[Any]] | None = None
        document = opened(session)
        self.text = document.text
        editor.finals[uri] = self._final
        editor.open(uri, document.language, document.text)

    @property
    def over(self) -> bool:
        """There is nothing left to be done."""
        return self._at == len(self._session)

    async def run(self, speed: float = 1.0, longest_pause: float = float("inf")) -> Notes:
        """Go through all of it at its pace, or so many times as fast; longer pauses are cut to `longest_pause`."""
        due, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        while not self.over:
            pause = self._session[self._at].at - self._session[self._at - 1].at
            due += min(pause, longest_pause) / speed
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.step()
        await self.answered()
        return self.notes

    def step(self) -> None:
        """Do what comes next, whenever that was."""
        what = self._session[self._at].what
        self._at += 1
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
        """Wait for the answer that is still to come."""
        if self._asked is not None:
            with suppress(PalimpsestError):
                await asyncio.wait_for(asyncio.shield(self._asked[1]), _PATIENCE_SECONDS)

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
            self._suggested = ""
        self._version += 1
        self._cancel()
        self._editor.change(self._uri, self._version, change.start, change.end, change.text)
        self._cursor = change.cursor
        self._ask(begun)
        self.text = change.apply(self.text)

    def _ask(self, begun: float | None = None) -> None:
        """Ask at the cursor, in place of what was asked before."""
        self._cancel()
        number, answer = self._asked = self._editor.inline(self._uri, self._cursor)

        def take(done: asyncio.Future[Any]) -> None:
            if done.cancelled() or done.exception() or self._asked is None or self._asked[0] != number:
                return
            if begun is not None:
                self.notes.answer_ms.append((time.perf_counter() - begun) * 1000)
            result = done.result()
            items = result.get("items") if isinstance(result, dict) else result
            at_cursor = [item for item in items or () if item["range"]["start"] == _position(self._cursor)]
            if at_cursor:
                self.notes.shown += not self._suggested
                self._suggested = at_cursor[0]["insertText"]

        answer.add_done_callback(take)

    def _cancel(self) -> None:
        if self._asked is not None and not self._asked[1].done():
            self._editor.notify("$/cancelRequest", {"id": self._asked[0]})
        self._asked = None

    def _final(self, draft: dict[str, Any]) -> None:
        waiting = self._asked is not None and not self._asked[1].done()
        here = draft["version"] == self._version and draft["position"] == _position(self._cursor)
        if here and draft["text"] and not waiting:
            self._ask()

    def _accept(self) -> None:
        """Tab: only if what is shown is what would be typed next; then that need not be typed."""
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
