"""Measures a server process from the outside, as an editor sees it; knows the protocol, nothing of engines.

One keystroke is a `didChange` of one character with a `textDocument/inlineCompletion` right behind it. Its
clock starts before the first of them and stops twice: at the first answer, whatever that is, and when there
is nothing more to come (the first answer had a text, or the final draft came and was asked for). The server is
warm: it has answered at the place before the character, as it has when somebody types. Where that answer
foretold the character, the next one costs nothing; such keystrokes are counted, but not timed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from palimpsest_engine import PalimpsestError, __version__

_URI = "file:///bench/ledger.py"
_PATIENCE_SECONDS = 600.0
_LONG_ENOUGH = 12  # characters of code on a line to type into


@dataclass(frozen=True, slots=True)
class Keystroke:
    """What one keystroke took, in milliseconds."""

    first_answer_ms: float
    settled_ms: float


@dataclass(frozen=True, slots=True)
class Session:
    """What one server process was like. initialize_ms, ready_ms: from its start on."""

    model: str
    device: str
    initialize_ms: float
    ready_ms: float
    keystrokes: tuple[Keystroke, ...]
    foretold: int
    memory_mb: float


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and the spread around the median (a quarter lies below, a quarter above)."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    top = statistics.quantiles(values, n=20, method="inclusive")[-1]
    shown = {"p50": middle, "p95": top, "p25": low, "p75": high}
    return {name: round(value, 3) for name, value in shown.items()} | {"samples": len(values)}


def typing(text: str, keystrokes: int) -> list[tuple[int, str]]:
    """Where to type and what: pairs of a line from 0 and what stands on it after the keystroke.

    The lines are spread over the file, and each is cut off inside its code.
    """
    rows = [(number, row) for number, row in enumerate(text.split("\n")) if len(row.strip()) >= _LONG_ENOUGH]
    plan = []
    for turn in range(keystrokes):
        number, row = rows[turn * len(rows) // keystrokes]
        indent = len(row) - len(row.lstrip())
        plan.append((number, row[: indent + 3 + 7 * turn % (len(row) - indent - 4)]))
    return plan


def cursors(text: str, count: int) -> list[int]:
    """The offsets of so many of the places where `typing` types."""
    starts = [0]
    for row in text.split("\n"):
        starts.append(starts[-1] + len(row) + 1)
    return [starts[line] + len(so_far) for line, so_far in typing(text, count)]


def observe(command: Sequence[str], section: dict[str, Any], text: str, keystrokes: int) -> Session:
    """Start a server, type into a document, and take notes. section: the settings the client sends."""
    return asyncio.run(_observe(command, section, text, keystrokes))


async def _observe(command: Sequence[str], section: dict[str, Any], text: str, keystrokes: int) -> Session:
    begun = time.perf_counter()
    async with _editor(command, section) as editor:
        initialized = time.perf_counter()
        status = await editor.until_ready()
        ready = time.perf_counter()
        notes, foretold = list[Keystroke](), 0
        plan = typing(text, 2 * keystrokes + 2)
        for line, so_far in (*plan[::2], *plan[1::2]):  # as many again, for those that are foretold
            if len(notes) > keystrokes:
                break
            note = await editor.type_at(text, line, so_far)
            if note is None:
                foretold += 1
            else:
                notes.append(note)
        memory = psutil.Process(editor.pid).memory_info().rss / 1e6
    # The first one pays for what is done once (kernels chosen, grammars loaded).
    return Session(
        model=status.model,
        device=status.device,
        initialize_ms=(initialized - begun) * 1000,
        ready_ms=(ready - begun) * 1000,
        keystrokes=tuple(notes[1:]),
        foretold=foretold,
        memory_mb=memory,
    )


class _Editor:
    """An editor with one document."""

    def __init__(self, client: LanguageClient) -> None:
        self._client = client
        self._version = 0
        self._open = False
        self._final = asyncio.Event()
        self._status: asyncio.Queue[Any] = asyncio.Queue()

        def drafted(draft: Any) -> None:
            if draft.final and draft.version == self._version:
                self._final.set()

        def told(status: Any) -> None:
            self._status.put_nowait(status)

        client.feature("palimpsest/draft")(drafted)
        client.feature("palimpsest/status")(told)

    @property
    def pid(self) -> int:
        """The server's process id."""
        server = self._client._server  # pygls has no public way to the process
        assert server is not None
        return server.pid

    async def until_ready(self) -> Any:
        """Wait for the checkpoint; the status then. Raises PalimpsestError if it cannot be loaded."""
        while True:
            status = await asyncio.wait_for(self._status.get(), _PATIENCE_SECONDS)
            if status.state == "error":
                raise PalimpsestError(status.reason)
            if status.state == "ready":
                return status

    async def type_at(self, text: str, line: int, so_far: str) -> Keystroke | None:
        """Type the last character of `so_far` where it belongs, and wait for all that comes of it; None if what was
        suggested before it begins with it."""
        rows = text.split("\n")
        rows[line] = so_far[:-1]
        self._replace("\n".join(rows))
        at, after = types.Position(line, len(so_far) - 1), types.Position(line, len(so_far))
        _, suggested = await self._settled(at)
        if suggested.startswith(so_far[-1]):
            return None
        self._version += 1
        begun = time.perf_counter()
        typed = types.TextDocumentContentChangePartial(types.Range(at, at), so_far[-1])
        self._changed([typed])
        first, _ = await self._settled(after)
        return Keystroke((first - begun) * 1000, (time.perf_counter() - begun) * 1000)

    async def _settled(self, position: types.Position) -> tuple[float, str]:
        """Ask, and ask again when the final draft has come: when the first answer was there, and the text."""
        self._final.clear()
        text = await self._ask(position)
        first = time.perf_counter()
        if not text:
            await asyncio.wait_for(self._final.wait(), _PATIENCE_SECONDS)
            text = await self._ask(position)
        return first, text

    def _replace(self, text: str) -> None:
        self._version += 1
        if self._open:
            self._changed([types.TextDocumentContentChangeWholeDocument(text)])
        else:
            self._open = True
            item = types.TextDocumentItem(_URI, "python", self._version, text)
            self._client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def _changed(self, changes: list[types.TextDocumentContentChangeEvent]) -> None:
        document = types.VersionedTextDocumentIdentifier(self._version, _URI)
        self._client.text_document_did_change(types.DidChangeTextDocumentParams(document, changes))

    async def _ask(self, position: types.Position) -> str:
        """Ask as an editor does while somebody types; the text suggested, or ""."""
        context = types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic)
        params = types.InlineCompletionParams(context, types.TextDocumentIdentifier(_URI), position)
        answer = await self._client.text_document_inline_completion_async(params)
        items = answer.items if isinstance(answer, types.InlineCompletionList) else answer
        return str(items[0].insert_text) if items else ""


@asynccontextmanager
async def _editor(command: Sequence[str], section: dict[str, Any]) -> AsyncIterator[_Editor]:
    """An editor with a server that has answered `initialize`; the server is shut down at the end."""
    client = LanguageClient("palimpsest-bench", __version__)
    editor = _Editor(client)
    await client.start_io(*command)
    try:
        options = {"palimpsest": section | {"drafts": True}}
        params = types.InitializeParams(types.ClientCapabilities(), initialization_options=options)
        await client.initialize_async(params)
        client.initialized(types.InitializedParams())
        yield editor
        await client.shutdown_async(None)
    finally:
        client.exit(None)
        await client.stop()  # type: ignore[no-untyped-call]
