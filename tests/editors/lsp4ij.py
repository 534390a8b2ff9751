"""An emulation of LSP4IJ, the language client of JetBrains IDEs, with the template of editors/jetbrains put into it.

No IntelliJ is run here, and no LSP4J. What this does, it does because the source of LSP4IJ does it, as read at commit
d21cff925d36 (2026-06-23, 0.20.2-SNAPSHOT), or, for what happens once a suggestion is shown, the source of the IntelliJ
platform (its package `codeInsight.inline.completion`, as of 2024). From LSP4IJ:

- The template's command, mappings, initialization options and settings. These are sent with
  `workspace/didChangeConfiguration` once the server has started, and given for `workspace/configuration`.
- The capabilities that it announces; UTF-16 alone; ids that are strings. It knows nothing of `palimpsest/status`.
- `didOpen`, and no request until 500 ms later. Changes are incremental, and those of one moment go out together.
- Inline completion 300 ms after a key, at once when asked for; always with `triggerKind` Automatic and without a version.
  The answer for a place and a text is kept, even an empty one: *nothing is asked twice there*. An older request is
  cancelled when the next one is made, not when the text changes. `command` and `filterText` are not looked at.
- Code actions: at every pause, and for Alt+Enter, with `triggerKind` Automatic, no `only`, and no diagnostics; the first
  twenty that are not of the very kind `quickfix`. `codeAction/resolve` for one without edit and command.
- `workspace/applyEdit` without looking at the version, `applied` always true, in one step of undo. It creates files.
- Progress that can be cancelled, by a token that is a string. Errors as notifications, but for cancelled requests and
  modified content. Requests that it does not know get -32601.
- A server that ends is announced, and started again by the next thing that needs it (at most twenty times).

From the platform: typing along shortens what is shown, without a request; other keys end it, and begin a new wait; so do
Enter and closed brackets. Moving, Escape and edits that are not typed end it and begin nothing. Accepting inserts the text
raw. Accepting a line takes what is before the line break. Not there: accepting a word (it needs the highlighter), several
suggestions (they are only for Invoked requests), and suggestions that write over what is behind the cursor.

Not emulated: that LSP4IJ hands each message to a pool of threads, so that two could change places on their way; and when the
platform has parsed a change, which is what LSP4IJ waits for before it sends it (10 ms here).

Ours, as simple as can be: the text, Enter's indentation, pairs of brackets, undo. Files of C are mapped, too, as a user
would add them, for a scenario needs them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from editors.editor import CURSOR, Ability, Key, Server, until
from editors.lsp4ij_capabilities import CAPABILITIES
from editors.lsp4ij_template import Template, expanded, section_of
from editors.lsp4ij_wire import ResponseError, Wire

DEBOUNCE, AFTER_OPEN, LIGHT_BULB, COMMIT = 0.3, 0.5, 0.3, 0.01
MOST_ACTIONS, MOST_STARTS = 20, 20
PAIRS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
QUIET_ERRORS = {-32800, -32801}
METHOD_NOT_FOUND = -32601
AUTOMATIC_INLINE, AUTOMATIC_ACTION = 2, 2


@dataclass
class Asked:
    """The last inline request: where, of which state of the text, and its answer."""

    at: int
    stamp: int
    answer: Future[Any]


class Lsp4ij:
    """The editor of the emulation."""

    name = "lsp4ij"
    encoding: Literal["utf-8", "utf-16", "utf-32"] = "utf-16"
    abilities: frozenset[Ability] = frozenset(
        {"ghost", "line", "trigger", "pairs", "indents", "actions", "undo", "revives"}
    )

    def __init__(self, server: Server, folder: Path, template: Template | None = None) -> None:
        self.template = template or Template.read()
        self.template.mappings.append(("*.c", "c"))
        section = {**self.template.initialization.get("palimpsest", {}), **server.initialization}
        self.initialization = {**self.template.initialization, "palimpsest": section}
        self.settings = self.template.settings
        if self.template.description.get("expandConfiguration"):
            self.settings = expanded(self.settings)
        self._program, self._folder = server.command, folder
        self._lock = threading.RLock()
        self._wire: Wire | None = None
        self._started, self._starts = False, 0
        self._popped: list[str] = []
        self._progress: dict[str, bool] = {}  # whether it can be cancelled, by token
        self._timers: dict[str, threading.Timer] = {}
        self._closed = False
        self._session = 0
        self._forget()

    def _forget(self) -> None:
        self._name, self._path, self._language = "", Path(), None
        self._text, self._caret, self._anchor, self._stamp = "", 0, 0, 0
        self._tabs = self._pairs = False
        self._undo: list[tuple[str, int, str]] = []
        self._version, self._known, self._pending = 0, threading.Event(), list[dict[str, Any]]()
        self._session, self._ghost = self._session + 1, ""  # no answer that is on its way is for this document
        self._asked: Asked | None = None
        self._bulb: tuple[Any, Future[Any]] | None = None

    # What a test does

    def open(self, name: str, text: str, *, tabs: bool = False, pairs: bool = False) -> None:
        """A new tab; the older one is closed after it has been opened, so that the server stays."""
        older, was_known = self._path, self._known.is_set()
        for timer in list(self._timers.values()):  # other threads start some
            timer.cancel()
        with self._lock:
            self._forget()
            self._name, self._path = name, self._folder / "project" / f"{len(list(self._folder.rglob('*')))}" / name
            self._path.parent.mkdir(parents=True)
            self._caret = self._anchor = text.index(CURSOR)
            self._text, self._tabs, self._pairs = text.replace(CURSOR, ""), tabs, pairs
            self._path.write_text(self._text, "utf-8")
            self._language = self.template.language(name)
        if self._language:
            self._connect()
            assert self._known.wait(30), "the server does not start"
        if was_known and self._wire:
            self._wire.notify("textDocument/didClose", {"textDocument": {"uri": older.as_uri()}})

    def text(self) -> str:
        """The document."""
        with self._lock:
            return self._text

    def cursor(self) -> int:
        """The caret."""
        with self._lock:
            return self._caret

    def type(self, text: str) -> None:
        """Key by key, and so fast that nothing comes between two of them, however busy the machine is."""
        with self._lock:
            for c in text:
                self._key(c)

    def press(self, key: Key) -> None:
        """Run the action that the default keymap has for the key, or could have."""
        with self._lock:
            match key:
                case "accept":
                    self._accept(self._ghost)
                case "line":
                    before, newline, after = self._ghost.partition("\n")
                    self._accept(before if before or not newline else newline + after.partition("\n")[0])
                case "trigger":
                    self._new_session(0.0)
                case "escape":
                    self._end_session()
                case "undo":
                    self._take_back()
                case "enter":
                    self._key("\n")
                case "left" | "right" | "up" | "down":
                    self._move(self._moved(key))
                case _:
                    raise NotImplementedError(f"{key} is not emulated")

    def select(self, start: int, end: int) -> None:
        """With the mouse; the caret is at the end."""
        with self._lock:
            self._move(end)
            self._anchor = start

    def ghost(self) -> str:
        """Return the text that is shown behind the caret."""
        with self._lock:
            return self._ghost

    def edit(self, text: str) -> None:
        """At the very beginning."""
        with self._lock:
            self._replace(0, 0, text, "edit")
            self._end_session()

    def run(self, action: str) -> None:
        """Alt+Enter, and the entry."""
        with self._lock:
            asked = self._ask_for_actions()
        offered = [each for each in asked.result(15) or () if each.get("kind") != "quickfix"][:MOST_ACTIONS]
        kinds = {each.get("kind", "").removesuffix(".palimpsest").rpartition(".")[2]: each for each in offered}
        titles = {each["title"].removeprefix("Palimpsest: "): each for each in offered}
        kinds["repair"] = next((each for each in offered if each.get("kind") == "quickfix.palimpsest"), None)
        chosen = titles.get(action) or kinds.get(action)
        assert chosen, f"{action} is not offered, but {[each['title'] for each in offered]}"
        if chosen.get("edit") or chosen.get("command"):
            self._apply(chosen)
        else:
            self._request("codeAction/resolve", chosen, lambda resolved: self._apply(resolved or chosen))

    def cancel(self) -> None:
        """The cross beside the progress."""
        [token] = until(lambda: [t for t, cancellable in list(self._progress.items()) if cancellable], "a progress")
        if self._wire:
            self._wire.notify("window/workDoneProgress/cancel", {"token": token})

    def reason(self) -> str:
        """LSP4IJ has no place for it."""
        return ""

    def messages(self) -> list[str]:
        """Notifications."""
        return list(self._popped)

    def restart(self) -> None:
        """The button of the language server console."""
        with self._lock:
            older, self._wire = self._wire, None
            self._forget_server()
            self._closed = True  # the light bulb does not start another one before this one has ended
        if older:
            older.close()
        self._closed = False
        self._connect()
        assert self._known.wait(30), "the server does not start"

    def screenshot(self, path: Path) -> None:
        """As text: the suggestion between angle brackets."""
        with self._lock:
            shown = f"{self._text[: self._caret]}{CURSOR}⟨{self._ghost}⟩{self._text[self._caret :]}"
        path.with_suffix(".txt").write_text("\n".join([shown, "", *self._popped]), "utf-8")

    def close(self) -> None:
        """The project is closed."""
        self._closed = True
        for timer in list(self._timers.values()):
            timer.cancel()
        self._stop()

    # The server

    def _connect(self) -> None:
        """Start it if it does not run, and open the document; `_known` is set when requests may be sent."""
        with self._lock:
            if not self._language or self._closed:
                return
            if self._wire is None and self._starts <= MOST_STARTS:
                self._starts += 1
                self._wire = wire = Wire(self._command(), self._folder, self._received, self._ended)
                started = wire.request("initialize", self._initialize())
                started.add_done_callback(lambda done: self._initialized(wire, done))
            elif self._wire and self._started and not self._version:
                self._did_open(self._wire)

    def _command(self) -> list[str]:
        """Return the template's command, with the program of the test instead of `palimpsest`."""
        program = shlex.quote(str(self._program))
        return [part.replace("palimpsest", program) for part in self.template.command()]

    def _initialize(self) -> dict[str, Any]:
        root = self._folder / "project"
        return {
            "processId": os.getpid(),
            "rootPath": str(root),
            "rootUri": root.as_uri(),
            "initializationOptions": self.initialization,
            "capabilities": CAPABILITIES,
            "clientInfo": {"name": "an emulation of LSP4IJ", "version": "0.20.2"},
            "workspaceFolders": [{"uri": root.as_uri(), "name": "project"}],
        }

    def _initialized(self, wire: Wire, done: Future[Any]) -> None:
        if done.cancelled() or done.exception():
            self._pop_up(f"Cannot start server: {done.exception()}")
            return
        self._started = True
        wire.notify("initialized", {})
        wire.notify("workspace/didChangeConfiguration", {"settings": self.settings})
        self._did_open(wire)

    def _did_open(self, wire: Wire) -> None:
        with self._lock:
            self._version, self._pending = 1, []
            document = {"uri": self._uri, "languageId": self._language, "version": 1, "text": self._text}
            known = self._known
            wire.notify("textDocument/didOpen", {"textDocument": document})
        self._after("open", AFTER_OPEN, known.set)

    def _stop(self) -> None:
        with self._lock:
            wire, self._wire = self._wire, None
        if wire:
            wire.close()

    def _forget_server(self) -> None:
        self._started, self._version, self._known = False, 0, threading.Event()
        self._asked = self._bulb = None
        self._progress.clear()

    def _ended(self, wire: Wire) -> None:
        with self._lock:
            if wire is not self._wire:
                return
            self._wire = None
            self._forget_server()
        self._pop_up("The server was stopped unexpectedly.")

    def _received(self, message: dict[str, Any]) -> Any:
        params = message.get("params") or {}
        match message["method"]:
            case "window/showMessage":
                self._pop_up(params["message"])
            case "workspace/configuration":
                return [section_of(self.settings, each.get("section")) for each in params["items"]]
            case "workspace/applyEdit":
                with self._lock:
                    self._apply_edit(params["edit"])
                return {"applied": True}
            case "window/workDoneProgress/create":
                self._progress.setdefault(str(params["token"]), False)
            case "$/progress":
                self._progressed(str(params["token"]), params["value"])
            case "workspace/workspaceFolders":
                return self._initialize()["workspaceFolders"]
            case "client/registerCapability" | "client/unregisterCapability":
                pass
            case method if "id" in message:
                raise ResponseError(METHOD_NOT_FOUND, f"Unsupported request method: {method}")
        return None

    def _progressed(self, token: str, value: dict[str, Any]) -> None:
        match value.get("kind"):
            case "begin":
                self._progress[token] = bool(value.get("cancellable"))
            case "end":
                self._progress.pop(token, None)

    def _request(self, method: str, params: Any, then: Callable[[Any], None] = lambda _: None) -> Future[Any] | None:
        """Ask; an error becomes a notification, unless it says that nobody wants the answer any more."""
        if self._wire is None:
            return None
        answer = self._wire.request(method, params)

        def done(future: Future[Any]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if isinstance(error, ResponseError) and error.code not in QUIET_ERRORS:
                self._pop_up(str(error))
            then(None if error else future.result())

        answer.add_done_callback(done)
        return answer

    def _pop_up(self, message: str) -> None:
        if not self._closed:
            self._popped.append(message)

    # The document

    @property
    def _uri(self) -> str:
        return self._path.as_uri()

    def _replace(self, start: int, end: int, new: str, what: str) -> None:
        """One change of the document. what: changes of the same kind one after the other are undone in one step."""
        if not self._undo or self._undo[-1][2] != what or what != "type":
            self._undo.append((self._text, self._caret, what))
        self._change(start, end, new)

    def _change(self, start: int, end: int, new: str) -> None:
        span = {"start": self._position(start), "end": self._position(end)}
        length = utf16(self._text[start:end])
        self._pending.append({"range": span, "rangeLength": length, "text": new})
        moved = len(new) - (end - start)
        self._text = self._text[:start] + new + self._text[end:]
        self._caret = self._caret + moved if self._caret >= end else min(self._caret, start)
        self._anchor = self._caret
        self._stamp += 1
        self._after("commit", COMMIT, self._flush)
        self._pause()

    def _flush(self) -> None:
        with self._lock:
            if self._pending and self._wire and self._version:
                self._version += 1
                document = {"uri": self._uri, "version": self._version}
                changes = {"textDocument": document, "contentChanges": self._pending}
                self._pending = []
                self._wire.notify("textDocument/didChange", changes)

    def _key(self, c: str) -> None:
        start, end = sorted((self._anchor, self._caret))
        rest = self._text[end:]
        typed, then = c, ""
        if c == "\n":
            typed += self._indentation(start)
        elif self._pairs and c in PAIRS.values() and rest.startswith(c):
            self._move(end + 1)  # the one that was closed already
            return
        elif self._pairs and c in PAIRS:
            then = PAIRS[c]
        along = start == end and not then and len(typed) == 1 and self._ghost.startswith(typed) and c != "\n"
        self._replace(start, end, typed + then, "type")
        self._caret = self._anchor = start + len(typed)
        if along:
            self._ghost = self._ghost[1:]
            if not self._ghost:
                self._end_session()
        else:
            self._new_session(DEBOUNCE)

    def _indentation(self, at: int) -> str:
        line = self._text[:at].rpartition("\n")[2]
        blanks = line[: len(line) - len(line.lstrip())]
        return blanks + (("\t" if self._tabs else "    ") if line.rstrip().endswith(":") else "")

    def _move(self, to: int) -> None:
        self._caret = self._anchor = to
        self._end_session()
        self._pause()

    def _moved(self, key: str) -> int:
        at = self._caret
        if key in ("left", "right"):
            return max(0, min(len(self._text), at + (1 if key == "right" else -1)))
        lines = self._text.split("\n")
        row, column = self._text[:at].count("\n"), at - (self._text[:at].rfind("\n") + 1)
        row = max(0, min(len(lines) - 1, row + (1 if key == "down" else -1)))
        return sum(len(line) + 1 for line in lines[:row]) + min(column, len(lines[row]))

    def _take_back(self) -> None:
        if self._undo:
            text, caret, _ = self._undo.pop()
            start = shared(text, self._text)
            same = shared(text[start:][::-1], self._text[start:][::-1])
            self._change(start, len(self._text) - same, text[start : len(text) - same])
            self._caret = self._anchor = caret
            self._end_session()

    def _apply(self, action: dict[str, Any]) -> None:
        with self._lock:
            if edit := action.get("edit"):
                self._apply_edit(edit)
            if command := action.get("command"):
                params = {"command": command["command"], "arguments": command.get("arguments")}
                self._request("workspace/executeCommand", params)

    def _apply_edit(self, edit: dict[str, Any]) -> None:
        """Apply the edit, whichever version it names. Every range is of the text before."""
        changes = edit.get("documentChanges") or [
            {"textDocument": {"uri": uri}, "edits": edits} for uri, edits in edit.get("changes", {}).items()
        ]
        self._undo.append((self._text, self._caret, "command"))
        for change in changes:
            if change.get("kind") == "create":
                path_of(change["uri"]).parent.mkdir(parents=True, exist_ok=True)
                path_of(change["uri"]).touch(exist_ok=False)
                continue
            if change["textDocument"]["uri"] != self._uri:
                self._append(path_of(change["textDocument"]["uri"]), change["edits"])
                continue
            spans = [(self._offset(e["range"]["start"]), self._offset(e["range"]["end"]), e) for e in change["edits"]]
            for start, end, each in sorted(spans, key=lambda span: span[0], reverse=True):
                self._change(start, end, each["newText"])
        self._end_session()

    def _append(self, path: Path, edits: list[dict[str, Any]]) -> None:
        """Edit a file that is not open; only what is put at its end."""
        text = path.read_text("utf-8")
        [edit] = edits
        last = {"line": text.count("\n"), "character": utf16(text[text.rfind("\n") + 1 :])}
        assert edit["range"] == {"start": last, "end": last}
        path.write_text(text + edit["newText"], "utf-8")

    def _position(self, offset: int) -> dict[str, int]:
        line, start = self._text.count("\n", 0, offset), self._text.rfind("\n", 0, offset) + 1
        return {"line": line, "character": utf16(self._text[start:offset])}

    def _offset(self, position: dict[str, int]) -> int:
        lines = self._text.split("\n")
        if position["line"] >= len(lines):
            return len(self._text)
        line, left, at = lines[position["line"]], position["character"], 0
        while at < len(line) and left >= utf16(line[at]):
            left -= utf16(line[at])
            at += 1
        return sum(len(each) + 1 for each in lines[: position["line"]]) + at

    # Suggestions

    def _end_session(self) -> None:
        self._session += 1
        self._ghost = ""
        self._stop_timer("debounce")

    def _new_session(self, wait: float) -> None:
        self._end_session()
        session = self._session
        self._after("debounce", wait, lambda: self._ask(session))

    def _ask(self, session: int) -> None:
        self._connect()
        if not self._known.wait(30):
            return
        self._flush()
        with self._lock:
            if session != self._session or self._wire is None:
                return
            same = self._asked and (self._asked.at, self._asked.stamp) == (self._caret, self._stamp)
            if not same or not self._asked or (self._asked.answer.done() and failed(self._asked.answer)):
                if self._asked:
                    self._asked.answer.cancel()
                params = {
                    "textDocument": {"uri": self._uri},
                    "position": self._position(self._caret),
                    "context": {"triggerKind": AUTOMATIC_INLINE},
                }
                answer = self._request("textDocument/inlineCompletion", params)
                if answer is None:
                    return
                self._asked = Asked(self._caret, self._stamp, answer)
            answer = self._asked.answer
        answer.add_done_callback(lambda done: self._show(session, done))

    def _show(self, session: int, done: Future[Any]) -> None:
        result = None if failed(done) else done.result()
        items = result.get("items", []) if isinstance(result, dict) else result or []
        with self._lock:
            if session != self._session:
                return
            shown = [text for each in items if (text := self._to_show(each)).strip()]
            self._ghost = shown[0] if shown else ""

    def _to_show(self, item: dict[str, Any]) -> str:
        """The text as it is, without what is typed already."""
        text = item["insertText"]
        text = text["value"] if isinstance(text, dict) else text
        if span := item.get("range"):
            start, end = self._offset(span["start"]), self._offset(span["end"])
            assert end <= self._caret, "a suggestion that writes over what is behind the caret is not emulated"
            if start < self._caret == end and self._caret - start < len(text):
                return text[self._caret - start :]
        return text

    def _accept(self, part: str) -> None:
        if not part:
            return
        rest, session = self._ghost[len(part) :], self._session
        self._replace(self._caret, self._caret, part, "accept")
        self._ghost = rest
        if not rest and session == self._session:
            self._end_session()

    # The light bulb

    def _pause(self) -> None:
        self._after("bulb", LIGHT_BULB, self._light_bulb)

    def _light_bulb(self) -> None:
        self._connect()
        if self._known.wait(30) and not self._closed:
            self._flush()
            with self._lock:
                if self._wire:
                    self._ask_for_actions()

    def _ask_for_actions(self) -> Future[Any]:
        self._flush()
        start, end = sorted((self._anchor, self._caret))
        asked = (start, end, self._stamp)
        if self._bulb and self._bulb[0] == asked and not (self._bulb[1].done() and failed(self._bulb[1])):
            return self._bulb[1]
        if self._bulb:
            self._bulb[1].cancel()
        params = {
            "textDocument": {"uri": self._uri},
            "range": {"start": self._position(start), "end": self._position(end)},
            "context": {"diagnostics": [], "triggerKind": AUTOMATIC_ACTION},
        }
        answer = self._request("textDocument/codeAction", params)
        assert answer, "there is no server"
        self._bulb = (asked, answer)
        return answer

    def _after(self, what: str, seconds: float, act: Callable[[], None]) -> None:
        """Do that later, and only the last of its kind."""
        self._stop_timer(what)
        if self._closed:
            return
        timer = self._timers[what] = threading.Timer(seconds, act)
        timer.daemon = True
        timer.start()

    def _stop_timer(self, what: str) -> None:
        if timer := self._timers.pop(what, None):
            timer.cancel()


def failed(answer: Future[Any]) -> bool:
    """Cancelled, or an error."""
    return answer.cancelled() or answer.exception() is not None


def path_of(uri: str) -> Path:
    """The path of a file's URI."""
    return Path(unquote(urlsplit(uri).path))


def utf16(text: str) -> int:
    """Its length in the client's units."""
    return len(text.encode("utf-16-le")) // 2


def shared(a: str, b: str) -> int:
    """Return the length of the beginning that both texts share."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@contextlib.contextmanager
def start(cache: Path, server: Server, folder: Path) -> Iterator[Lsp4ij]:
    """The emulation; it needs no download."""
    (folder / "project").mkdir()
    editor = Lsp4ij(server, folder)
    try:
        yield editor
    finally:
        editor.close()
