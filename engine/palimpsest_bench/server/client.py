"""A client that sends one server process the messages of an editor; knows the protocol, nothing of engines.

It is our own because it has to cost less than the server that it measures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from tempfile import TemporaryFile
from typing import IO, Any

import psutil

from palimpsest_engine import PalimpsestError

Place = tuple[int, int]  # line and character; all typed text is ASCII, so a character is a code point

_INLINE = "textDocument/inlineCompletion"
_AUTOMATIC = 2
_PATIENCE_SECONDS = 60.0


class Editor:
    """Talks to one server over its standard streams. log: the file that has its standard error."""

    def __init__(self, process: asyncio.subprocess.Process, log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.finals: dict[str, Callable[[dict[str, Any]], None]] = {}  # callbacks for the final draft, by URI
        self._reading = asyncio.create_task(self._read())

    @property
    def resident_mb(self) -> float:
        """Return the resident memory of the server, in millions of bytes."""
        return float(psutil.Process(self._process.pid).memory_info().rss) / 1e6

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, method: str, params: Any) -> tuple[int, asyncio.Future[Any]]:
        """Send a request. Returns its id and a future of the result, which may raise PalimpsestError."""
        self._last += 1
        answer = asyncio.get_running_loop().create_future()
        self._pending[self._last] = answer
        self._send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        return self._last, answer

    async def request(self, method: str, params: Any) -> Any:
        """Send a request and wait for the result."""
        return await asyncio.wait_for(self.ask(method, params)[1], _PATIENCE_SECONDS)

    async def counters(self) -> dict[str, int]:
        """Ask for the server's counters. Raises PalimpsestError if it has none."""
        status = await self.request("palimpsest/status", None)
        counters = status.get("counters")
        if not isinstance(counters, dict) or "model" not in counters:
            raise PalimpsestError("the server's status has no counters")
        return counters

    def open(self, uri: str, language: str, text: str) -> None:
        """Send `didOpen` with version 1."""
        item = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def close(self, uri: str) -> None:
        """Send `didClose`."""
        self.notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def change(self, uri: str, version: int, start: Place, end: Place, text: str) -> None:
        """Send `didChange` of one range."""
        change = {"range": {"start": position_of(start), "end": position_of(end)}, "text": text}
        document = {"uri": uri, "version": version}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": [change]})

    def replace(self, uri: str, version: int, text: str) -> None:
        """Send `didChange` of the whole text."""
        self.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": uri, "version": version}, "contentChanges": [{"text": text}]},
        )

    def inline(self, uri: str, cursor: Place) -> tuple[int, asyncio.Future[Any]]:
        """Ask for ghost text, as an editor does during typing."""
        where = {"textDocument": {"uri": uri}, "position": position_of(cursor)}
        return self.ask(_INLINE, where | {"context": {"triggerKind": _AUTOMATIC}})

    async def suggested(self, uri: str, cursor: Place) -> str:
        """Ask for ghost text and wait for it. Returns its text, or ""."""
        return text_of(await asyncio.wait_for(self.inline(uri, cursor)[1], _PATIENCE_SECONDS))

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
            self._log.seek(0)
            last_words = self._log.read().decode(errors="replace").strip().split("\n")[-1]
            for waiting in self._pending.values():
                if not waiting.done():
                    waiting.set_exception(PalimpsestError(f"the server has ended: {last_words or 'without a message'}"))

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "palimpsest/draft", "params": {"uri": uri, "final": True}} if uri in self.finals:
                self.finals[uri](message["params"])
            case {"method": _, "id": asked}:
                self._send({"jsonrpc": "2.0", "id": asked, "result": None})
            case {"id": int(answered)} if (waiting := self._pending.pop(answered, None)) and not waiting.done():
                if "error" in message:
                    waiting.set_exception(PalimpsestError(f"the server answered: {message['error'].get('message')}"))
                else:
                    waiting.set_result(message.get("result"))


def text_of(answer: Any) -> str:
    """Return the text of the first inline completion, or ""."""
    items = answer.get("items") if isinstance(answer, dict) else answer
    return str(items[0]["insertText"]) if items else ""


def position_of(place: Place) -> dict[str, int]:
    """Return the LSP position of a place."""
    return {"line": place[0], "character": place[1]}


@asynccontextmanager
async def connected(command: Sequence[str], section: dict[str, Any]) -> AsyncIterator[Editor]:
    """Start and initialize a server, and yield its client. section: the settings."""
    pipe = asyncio.subprocess.PIPE
    with TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=log, limit=2**26)
        editor = Editor(process, log)
        try:
            options = {"palimpsest": section}
            await editor.request("initialize", {"capabilities": {}, "initializationOptions": options})
            editor.notify("initialized", {})
            yield editor
            await editor.stop()
        finally:
            await editor.end()
