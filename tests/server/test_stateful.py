"""Run whole sessions at random: an editor, an engine and a clock act freely, and the invariants hold.

The server is the real one, message by message, on a loop whose time passes only when the test says so. An ordinary run
has some sessions, always the same; `make fuzz` has ten thousand, new ones each time.
"""

import asyncio
import json
import logging
import os
from collections import Counter
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tree_sitter import Parser

import wordwise
from palimpsest_engine import (
    Draft,
    DraftPiece,
    EngineStatus,
    Fill,
    FillCancelled,
    Job,
    OutOfMemory,
    Verdict,
)
from palimpsest_engine.syntax.grammars import load
from palimpsest_server.app import create_server
from palimpsest_server.features import inline_completion
from palimpsest_server.features.next_edit import answer
from palimpsest_server.session import jobs
from palimpsest_server.status import publisher
from palimpsest_server.status.status_file import Live

SESSIONS = int(os.environ.get("PALIMPSEST_SESSIONS", "60"))
pytestmark = pytest.mark.timeout(60 + 2 * SESSIONS)
LOST = "the document is out of step: a change could not be read; reopen it"
FILES = [f"file:///code/{name}" for name in ("a.py", "b.py", "c.rs", "sub/d.py")] + ["untitled:Untitled-1"]
CELLS = [f"notebook:cell{number}" for number in range(3)]
NOTEBOOK = "file:///code/n.ipynb"
WIDTHS = {
    "utf-8": lambda char: len(char.encode("utf-8", "surrogatepass")),
    "utf-16": lambda char: 1 + (ord(char) > 0xFFFF),
    "utf-32": lambda char: 1,
}
INLINE, COMPLETION, ACTION = "textDocument/inlineCompletion", "textDocument/completion", "textDocument/codeAction"
COMMAND, RESOLVE = "workspace/executeCommand", "codeAction/resolve"
NEXT_EDIT = "textDocument/copilotInlineEdit"

PIECES = st.sampled_from(
    ["def f(x):\n    ", "...", "\n", "\r\n", "    ", "x", "= ", "(", ")", '"', "# note", "return x\n", "é", "😀", "\t"]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
TYPED = st.sampled_from(["x", " ", "\n", "(", '"', "re", "😀"])
FILLS = st.sampled_from(["", "x", "x + 1", "return x", "pass\n", "a\n    b\n", "😀", ")", "..."]) | TEXTS
SHARE = st.floats(0, 1)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "enable": st.sampled_from([True] * 9 + [False]),
        "drafts": st.booleans(),
        "speculate": st.booleans(),
        "candidates": st.integers(1, 4),
        "nextEdit": st.sampled_from(["off", "low", "medium", "high"]),
        "completion": st.sampled_from(["auto", "on", "off"]),
        "debounceMs": st.sampled_from([0, 75, None]),
        "answerWithinMs": st.sampled_from([0, 250]),
        "deadlineMs": st.just(1000),
        "disabledLanguages": st.sampled_from([[], ["rust"]]),
        "maxLines": st.sampled_from([None, 1]),
        "seed": st.integers(0, 9),
        "nonsense": st.just(1),
    },
)


class Loop(asyncio.SelectorEventLoop):
    """A loop with virtual time, which jumps to the next timer when all is done. Calls to other threads run here, later."""

    def __init__(self):
        self.now = 1000.0
        self.turns = 0
        super().__init__()
        select = self._selector.select
        self._selector.select = lambda timeout: select(0 if self._ready or self._scheduled else timeout)

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()

    def run_in_executor(self, executor, func, *args):
        done = self.create_future()
        self.turns += 1

        def run():
            if not done.cancelled():
                try:
                    done.set_result(func(*args))
                except Exception as error:
                    done.set_exception(error)

        self.call_later((self.turns % 3) * 0.02, run)
        return done


class Engine:
    """Does nothing by itself, unless `quick` is set, which is called with each job a moment later."""

    def __init__(self):
        self.jobs = []
        self.drafts = []
        self.closed = False
        self.quick = None

    def status(self):
        return EngineStatus("busy" if self.open() else "ready", model="manual", device="none", instructs=True)

    def warm(self):
        pass

    def close(self):
        self.closed = True

    def submit(self, request, on_draft=None):
        job = Job(request)
        self.jobs.append(job)
        self.drafts.append(on_draft)
        if self.quick:
            asyncio.get_running_loop().call_later(0.04, self.quick, job)
        return job

    def open(self):
        return [at for at, job in enumerate(self.jobs) if not job.future.done()]


class Errors(logging.Handler):
    def __init__(self):
        super().__init__(logging.ERROR)
        self.records = []

    def emit(self, record):
        if record.name.split(".")[0] in ("palimpsest_server", "palimpsest_engine", "asyncio"):
            self.records.append(record)


def offsets(text, width):
    """Yield every offset that has a position, and that position, without the server's code."""
    line = column = 0
    found = []
    for at, char in enumerate(text):
        if not (char == "\n" and text[at - 1 : at] == "\r"):
            found.append((at, {"line": line, "character": column}))
        if char == "\n" or (char == "\r" and text[at + 1 : at + 2] != "\n"):
            line, column = line + 1, 0
        elif char != "\r":
            column += width(char)
    return [*found, (len(text), {"line": line, "character": column})]


def at(places, share):
    return places[min(int(share * len(places)), len(places) - 1)]


class Model:
    """A document as the editor has it. written: every text that the engine wrote for it."""

    def __init__(self, text, version):
        self.text = text
        self.version = version
        self.lost = False


class Sessions(RuleBasedStateMachine):
    """One session."""

    def __init__(self):
        super().__init__()
        self.loop = Loop()
        self.errors = Errors()
        logging.getLogger().addHandler(self.errors)
        self.patches = [
            mock.patch.object(module, "monotonic", self.loop.time) for module in (inline_completion, jobs, publisher)
        ]
        self.patches.append(mock.patch.object(answer, "follow_ups", wordwise.follow_ups))
        self.patches.append(mock.patch.object(Live, "open", return_value=None))
        for patch in self.patches:
            patch.start()
        self.engine = Engine()
        self.faults = 0
        self.sent = []
        self.asked = {}  # by id: (method, params, document's text)
        self.answers = Counter()
        self.errors_answered = Counter()
        self.empty = Counter()
        self.full = Counter()
        self.told = Counter()
        self.questions = []  # of the server, that are not answered yet
        self.documents = {}
        self.wrong = []
        self.eager = True  # the editor answers by itself
        self.notebook = None
        self.actions = []
        self.suggested = None
        self.next_edits = []
        self.writes = []  # texts that the engine wrote
        self.server = create_server(lambda _: self.engine)
        self.server.protocol.set_writer(self)
        answered = self.server.session.requests.answered

        def tell(method, reason="", source="", text=""):
            self.told[method, "cancelled" if reason == "cancelled" else bool(reason)] += 1
            return answered(method, reason, source, text)

        self.server.session.requests.answered = tell

    # Messages

    def write(self, data):
        message = json.loads(data.split(b"\r\n\r\n", 1)[1])
        self.sent.append(message)
        if "method" not in message:
            try:
                self._answered(message)
            except Exception as error:  # whoever called us catches everything, and means broken pipes
                self.wrong.append(error)
        elif "id" in message:
            self.questions.append(message)
            if self.eager:
                self.loop.call_later(0.01, self._answer_eagerly, message)

    def close(self):
        pass

    def give(self, **message):
        async def handle():
            self.server.protocol.handle_message({"jsonrpc": "2.0", **message})

        if self.loop.is_running():
            self.server.protocol.handle_message({"jsonrpc": "2.0", **message})
        else:
            self.loop.run_until_complete(handle())
            self.pass_time(0.0)

    def pass_time(self, seconds):
        if not self.loop.is_running():
            self.loop.run_until_complete(asyncio.sleep(seconds) if seconds else self._rest())

    async def _rest(self):
        """Run everything that is due, without time passing."""
        for _ in range(12):
            await asyncio.sleep(0)

    def tell(self, method, params):
        self.give(method=method, params=params)

    def ask(self, method, params):
        msg_id = len(self.asked) + 1
        uri = (params or {}).get("textDocument", {}).get("uri")
        document = self.documents.get(uri)
        self.asked[msg_id] = (method, params, document and document.text)
        self.give(id=msg_id, method=method, params=params)
        return msg_id

    def _answered(self, message):
        """Check the form of an answer; the invariants count the answers."""
        msg_id = message["id"]
        self.answers[msg_id] += 1
        method, params, text = self.asked[msg_id]
        if "error" in message:
            self.errors_answered[method] += 1
            assert message["error"]["code"] in (-32800, -32801, -32602), message
            return
        result = message["result"]
        if method == INLINE:
            (self.full if result else self.empty)[method] += 1
            for item in result or ():
                self._is_for_the_cursor(params, text, item)
            self.suggested = (params["textDocument"]["uri"], result[0]) if result else None
        elif method == COMPLETION and result is not None:
            for item in result["items"]:
                self._keeps_the_word(params, text, item)
        elif method == ACTION:
            self.actions += result
        elif method == COMMAND and (told := (result or {}).get("conversation")):
            assert 0 <= told["version"] <= told["versions"] < 20
        elif method == NEXT_EDIT:
            (self.full if result["edits"] else self.empty)[method] += 1
            for edit in result["edits"]:
                self._is_of_the_present(edit)
            self.next_edits += result["edits"]

    def _is_of_the_present(self, edit):
        """Check that a next edit is for the text that the editor has, and changes one word of it."""
        document = self.documents[edit["textDocument"]["uri"]]
        assert not document.lost
        assert edit["textDocument"]["version"] == document.version
        start, end = (self._offset(document.text, edit["range"][edge]) for edge in ("start", "end"))
        assert document.text[start:end].isalnum()
        assert document.text[start:end] != edit["text"]

    def _is_for_the_cursor(self, params, text, item):
        chosen = params["context"].get("selectedCompletionInfo")
        assert item["insertText"]
        if chosen is None:
            assert item["range"]["start"] == item["range"]["end"]
            assert item["range"]["start"] == params["position"]
        else:
            assert item["range"] == chosen["range"]
            assert item["insertText"].startswith(chosen["text"])

    def _keeps_the_word(self, params, text, item):
        """Check that an item repeats the text of the document that it replaces."""
        edit = item["textEdit"]
        assert edit["range"]["end"] == params["position"]
        start, end = (self._offset(text, edit["range"][edge]) for edge in ("start", "end"))
        assert edit["newText"].startswith(text[start:end])
        assert "\n" not in text[start:end]

    def _offset(self, text, position):
        """Return the offset of a position, which has to be one."""
        (found,) = [offset for offset, place in self.places(text) if place == position]
        return found

    def places(self, text):
        return offsets(text, WIDTHS[self.encoding])

    # The beginning

    @initialize(
        encoding=st.sampled_from(list(WIDTHS)),
        section=SETTINGS,
        has_inline=st.booleans(),
        resolves=st.booleans(),
        progress=st.booleans(),
        text=FILLS,
    )
    def begin(self, encoding, section, has_inline, resolves, progress, text):
        self.encoding = encoding
        action = {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": [""]}}}
        if resolves:
            action |= {"dataSupport": True, "resolveSupport": {"properties": ["edit"]}}
        able = {
            "general": {"positionEncodings": [encoding]},
            "textDocument": {"codeAction": action} | ({"inlineCompletion": {}} if has_inline else {}),
            "window": {"workDoneProgress": progress},
            "workspace": {
                "applyEdit": True,
                "configuration": True,
                "didChangeConfiguration": {"dynamicRegistration": True},
                "workspaceEdit": {"documentChanges": True},
            },
        }
        self.has_completion = section.get("completion", "auto") == "on" or (
            section.get("completion", "auto") == "auto" and not has_inline
        )
        options = {"palimpsest": section}
        params = {"processId": None, "rootUri": "file:///code", "capabilities": able, "initializationOptions": options}
        self.ask("initialize", params)
        self.tell("initialized", {})
        self.pass_time(1.5)
        self.engine.quick = lambda job: self.finish_job(job, [text])
        self.open(FILES[0], "def f(x):\n    return ...\n\n\ndef g():\n    pass\n")

    # The editor: documents

    def identified(self, uri):
        return {"uri": uri, "version": self.documents[uri].version}

    def edit(self, uri, *changes):
        """Make changes in the client: (start, end, text), or a whole text."""
        document = self.documents[uri]
        document.version += 1
        told = []
        for change in changes:
            if isinstance(change, str):
                document.text, document.lost = change, False
                told.append({"text": change})
            else:
                (start, first), (end, last), new = change
                told.append({"range": {"start": first, "end": last}, "text": new})
                document.text = document.text[:start] + new + document.text[end:]
        self.suggested = None
        self.next_edits = [each for each in self.next_edits if each["textDocument"]["uri"] != uri]
        if uri in CELLS:
            content = [{"document": self.identified(uri), "changes": told}]
            self.tell(
                "notebookDocument/didChange",
                {
                    "notebookDocument": {"uri": NOTEBOOK, "version": document.version},
                    "change": {"cells": {"textContent": content}},
                },
            )
        else:
            self.tell("textDocument/didChange", {"textDocument": self.identified(uri), "contentChanges": told})

    def item(self, uri, text):
        self.documents[uri] = Model(text, 1)
        self.suggested = None
        self.next_edits = [each for each in self.next_edits if each["textDocument"]["uri"] != uri]
        return {"uri": uri, "languageId": language_of(uri), "version": 1, "text": text}

    @rule(uri=st.sampled_from(FILES), text=TEXTS)
    def open(self, uri, text):
        self.tell("textDocument/didOpen", {"textDocument": self.item(uri, text)})

    @precondition(lambda self: any(uri in FILES for uri in self.documents))
    @rule(share=SHARE)
    def close_one(self, share):
        uri = at([uri for uri in self.documents if uri in FILES], share)
        del self.documents[uri]
        self.tell("textDocument/didClose", {"textDocument": {"uri": uri}})

    @precondition(lambda self: self.documents)
    @rule(which=SHARE, edges=st.tuples(SHARE, SHARE), new=TEXTS)
    def change(self, which, edges, new):
        uri = at(list(self.documents), which)
        first, last = sorted((at(self.places(self.documents[uri].text), edge) for edge in edges), key=lambda p: p[0])
        self.edit(uri, (first, last, new))

    @precondition(lambda self: self.documents)
    @rule(which=SHARE, text=TEXTS)
    def change_all(self, which, text):
        self.edit(at(list(self.documents), which), text)

    @precondition(lambda self: self.documents)
    @rule(
        which=SHARE,
        where=SHARE,
        keys=st.lists(TYPED, min_size=1, max_size=4),
        waits=st.sampled_from([0.0, 0.05, 0.3, 0.3]),
    )
    def type(self, which, where, keys, waits):
        """Type, and ask after each key."""
        uri = at(list(self.documents), which)
        place = at(self.places(self.documents[uri].text), where)
        for key in keys:
            self.edit(uri, (place, place, key))
            place = min(p for p in self.places(self.documents[uri].text) if p[0] >= place[0] + len(key))
            self.ask(INLINE, self.asking(uri, place[1], automatic=True))
            self.pass_time(waits)

    @precondition(lambda self: self.suggested and self.suggested[0] in self.documents)
    @rule(length=SHARE, then_ask=st.booleans())
    def type_along(self, length, then_ask):
        """Type some or all of a suggestion, or accept it."""
        uri, item = self.suggested
        start, end = (self._offset(self.documents[uri].text, item["range"][edge]) for edge in ("start", "end"))
        text = item["insertText"]
        new = text[: max(1, round(length * len(text)))]
        places = dict(self.places(self.documents[uri].text))
        self.edit(uri, ((start, places[start]), (end, places[end]), new))
        cursor = dict(self.places(self.documents[uri].text)).get(start + len(new))
        if then_ask and cursor:
            self.ask(INLINE, self.asking(uri, cursor, automatic=True))

    @precondition(lambda self: self.documents)
    @rule(
        which=SHARE,
        text=FILLS,
        actions=st.lists(st.sampled_from(["fill", "complete", "fillHoles", "rework"]), max_size=3),
    )
    def work(self, which, text, actions):
        """Have all go well for once: ask for suggestions and accept them, and run actions, one after the other."""
        self.eager, self.engine.quick = True, lambda job: self.finish_job(job, [text, text + "y"])
        self.tell("workspace/didChangeConfiguration", {"settings": {"palimpsest": {"debounceMs": 0}}})
        self.go_on()
        uri = at(list(self.documents), which)
        places = self.places(self.documents[uri].text)
        start, end = places[0][1], places[-1][1]
        for action in actions:
            argument = {"action": action, "uri": uri, "range": {"start": start, "end": end}}
            self.ask(COMMAND, {"command": "palimpsest.run", "arguments": [argument]})
            self.pass_time(0.5)
            end = self.places(self.documents[uri].text)[-1][1]
            self.ask(INLINE, self.asking(uri, end, automatic=False))
            self.pass_time(0.5)
            if self.suggested:
                self.type_along(1.0, True)
            self.ask_for_actions(which, (0.0, 1.0), None, None)
            end = self.places(self.documents[uri].text)[-1][1]

    @precondition(lambda self: self.documents)
    @rule(which=SHARE, wrong=st.sampled_from([{"text": None}, {"range": {"start": 1}, "text": ""}, 3, {}]))
    def change_unreadably(self, which, wrong):
        uri = at(list(self.documents), which)
        self.documents[uri].version += 1
        self.documents[uri].lost = True
        self.tell("textDocument/didChange", {"textDocument": self.identified(uri), "contentChanges": [wrong]})

    @rule(change=st.booleans())
    def mistake(self, change):
        """Change or close a document that is not open."""
        document = {"uri": "file:///code/unknown.py", "version": 3}
        if change:
            self.tell("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": "x"}]})
        else:
            self.tell("textDocument/didClose", {"textDocument": document})

    # The editor: notebooks

    @precondition(lambda self: self.notebook is None)
    @rule(texts=st.lists(TEXTS, min_size=1, max_size=3))
    def open_notebook(self, texts):
        self.notebook = CELLS[: len(texts)]
        items = [self.item(uri, text) for uri, text in zip(self.notebook, texts, strict=True)]
        cells = [{"kind": 2, "document": uri} for uri in self.notebook]
        notebook = {"uri": NOTEBOOK, "notebookType": "jupyter-notebook", "version": 1, "cells": cells}
        self.tell("notebookDocument/didOpen", {"notebookDocument": notebook, "cellTextDocuments": items})

    @precondition(lambda self: self.notebook)
    @rule(which=SHARE)
    def delete_cell(self, which):
        uri = at(self.notebook, which)
        array = {"start": self.notebook.index(uri), "deleteCount": 1}
        self.notebook = [each for each in self.notebook if each != uri]
        del self.documents[uri]
        self.tell(
            "notebookDocument/didChange",
            {
                "notebookDocument": {"uri": NOTEBOOK, "version": 2},
                "change": {"cells": {"structure": {"array": array, "didClose": [{"uri": uri}]}}},
            },
        )

    @precondition(lambda self: self.notebook is not None)
    @rule()
    def close_notebook(self):
        cells = [{"uri": uri} for uri in self.notebook]
        for uri in self.notebook:
            del self.documents[uri]
        self.notebook = None
        self.tell("notebookDocument/didClose", {"notebookDocument": {"uri": NOTEBOOK}, "cellTextDocuments": cells})

    # The editor: questions

    def asking(self, uri, position, automatic):
        context = {"triggerKind": 2 if automatic else 1}
        return {"textDocument": {"uri": uri}, "position": position, "context": context}

    @precondition(lambda self: self.documents)
    @rule(which=SHARE, where=SHARE, automatic=st.booleans())
    def ask_inline(self, which, where, automatic):
        uri = at(list(self.documents), which)
        self.ask(INLINE, self.asking(uri, at(self.places(self.documents[uri].text), where)[1], automatic))

    @precondition(lambda self: self.documents)
    @rule(which=SHARE, where=SHARE, most=st.integers(1, 8), kind=st.sampled_from([None, 1, 2]), wrong=st.booleans())
    def ask_for_the_next_edit(self, which, where, most, kind, wrong):
        uri = at(list(self.documents), which)
        document = self.identified(uri) | ({"version": 0} if wrong else {})
        params = {
            "textDocument": document,
            "position": at(self.places(self.documents[uri].text), where)[1],
            "most": most,
        }
        self.ask(NEXT_EDIT, params | ({"context": {"triggerKind": kind}} if kind else {}))

    @precondition(lambda self: self.documents)
    @rule(which=SHARE, lines=st.integers(1, 4), waits=st.sampled_from([0.0, 0.3]))
    def rename(self, which, lines, waits):
        """Rename a word that is used several times, and go from use to use."""
        uri = at(list(self.documents), which)
        self.edit(uri, "def f(x): # 😀\n" + "    é = x\n" * lines)
        (start, first), (end, last) = self.places(self.documents[uri].text)[6:8]
        self.edit(uri, ((start, first), (end, last), "most"))
        for _ in range(lines):
            before = len(self.next_edits)
            self.ask(NEXT_EDIT, {"textDocument": self.identified(uri), "position": first})
            self.pass_time(waits)
            if len(self.next_edits) > before:
                self.close_next_edit(1.0, "accept")

    @precondition(lambda self: self.next_edits)
    @rule(which=SHARE, how=st.sampled_from(["accept", "accept", "show", "refused", "typedOver", "left", "nonsense"]))
    def close_next_edit(self, which, how):
        """Do with an edit what a client does; apply it only if it is for the present text."""
        edit = at(self.next_edits, which)
        uri, version, id_ = edit["textDocument"]["uri"], edit["textDocument"]["version"], edit["palimpsest"]["id"]
        if how == "show":
            self.tell("textDocument/didShowInlineEdit", {"item": {"command": edit["command"]}})
        elif how != "accept":
            self.tell("palimpsest/didCloseInlineEdit", {"id": id_, "why": how})
        elif uri in self.documents and self.documents[uri].version == version and not self.documents[uri].lost:
            text = self.documents[uri].text
            edges = [(self._offset(text, edit["range"][edge]), edit["range"][edge]) for edge in ("start", "end")]
            self.edit(uri, (*edges, edit["text"]))
            self.ask(COMMAND, {"command": edit["command"]["command"], "arguments": edit["command"]["arguments"]})

    @precondition(lambda self: self.documents)
    @rule(which=SHARE, edges=st.tuples(SHARE, SHARE), chosen=TYPED)
    def ask_with_a_completion_selected(self, which, edges, chosen):
        uri = at(list(self.documents), which)
        places = self.places(self.documents[uri].text)
        (start, first), (end, last) = sorted((at(places, edge) for edge in edges), key=lambda place: place[0])
        if "\n" in self.documents[uri].text[start:end]:
            return
        params = self.asking(uri, last, automatic=True)
        params["context"]["selectedCompletionInfo"] = {"range": {"start": first, "end": last}, "text": chosen}
        self.ask(INLINE, params)

    @precondition(lambda self: self.documents)
    @rule(line=st.integers(0, 2**40), character=st.integers(0, 2**40), which=SHARE)
    def ask_beyond(self, line, character, which):
        """Ask at a position that does not exist; the answer is for another one."""
        uri = at([*self.documents, "file:///code/unknown.py"], which)
        msg_id = len(self.asked) + 1
        params = self.asking(uri, {"line": line, "character": character}, automatic=False)
        self.asked[msg_id] = ("beyond", params, None)
        self.give(id=msg_id, method=INLINE, params=params)

    @precondition(lambda self: self.documents and self.has_completion)
    @rule(which=SHARE, where=SHARE)
    def complete(self, which, where):
        uri = at(list(self.documents), which)
        position = at(self.places(self.documents[uri].text), where)[1]
        self.ask(COMPLETION, {"textDocument": {"uri": uri}, "position": position})

    @precondition(lambda self: self.documents)
    @rule(
        which=SHARE,
        edges=st.tuples(SHARE, SHARE),
        only=st.sampled_from([None, ["refactor.rewrite"], ["quickfix"], ["source"], [""]]),
        kind=st.sampled_from([None, 1, 2]),
    )
    def ask_for_actions(self, which, edges, only, kind):
        uri = at(list(self.documents), which)
        places = self.places(self.documents[uri].text)
        (_, first), (_, last) = sorted((at(places, edge) for edge in edges), key=lambda place: place[0])
        where = {"start": first, "end": last}
        context = {"diagnostics": [{"range": where, "message": "wrong", "severity": 1}]}
        context |= ({"only": only} if only else {}) | ({"triggerKind": kind} if kind else {})
        self.ask(ACTION, {"textDocument": {"uri": uri}, "range": where, "context": context})

    @precondition(lambda self: self.actions)
    @rule(which=SHARE)
    def choose_action(self, which):
        action = at(self.actions, which)
        if "command" not in action and "edit" not in action:
            self.ask(RESOLVE, action)
        elif "command" in action:
            if isinstance(action["command"], str):
                action = {"command": action}
            if "edit" in action and not self.apply(action["edit"], action["title"]):
                return
            command = action["command"]
            self.ask(COMMAND, {"command": command["command"], "arguments": command.get("arguments")})

    @precondition(lambda self: self.documents)
    @rule(
        which=SHARE,
        edges=st.tuples(SHARE, SHARE),
        action=st.sampled_from(["fill", "complete", "touchUp", "rework", "rewrite", "repair", "fillHoles"]),
    )
    def run_command(self, which, edges, action):
        uri = at(list(self.documents), which)
        places = self.places(self.documents[uri].text)
        where = dict(zip(("start", "end"), (at(places, edge)[1] for edge in edges), strict=True))
        self.ask(COMMAND, {"command": "palimpsest.run", "arguments": [{"action": action, "uri": uri, "range": where}]})

    @precondition(lambda self: self.documents)
    @rule(
        which=SHARE,
        edges=st.tuples(SHARE, SHARE),
        actions=st.lists(
            st.sampled_from(["instruct", "followUp", "followUp", "earlier", "later", "explain", "test"]), max_size=5
        ),
        text=FILLS,
        waits=st.sampled_from([0.0, 0.3]),
    )
    def converse(self, which, edges, actions, text, waits):
        """Say what to do, and go on from the answer; one after the other, or all at once."""
        uri = at(list(self.documents), which)
        places = self.places(self.documents[uri].text)
        where = dict(zip(("start", "end"), (at(places, edge)[1] for edge in edges), strict=True))
        self.eager = self.eager or waits > 0
        self.engine.quick = lambda job: self.finish_job(job, [f"{text}{len(self.engine.jobs)}\n"])
        for action in ("instruct", *actions):
            argument = {"action": action, "uri": uri, "range": where}
            argument |= {"instruction": "shorter"} if action in ("instruct", "followUp") else {}
            self.ask(COMMAND, {"command": "palimpsest.run", "arguments": [argument]})
            self.pass_time(waits)

    @rule(arguments=st.sampled_from([None, [], [3], [{"uri": 3}], [{"action": "fill", "uri": "x", "range": None}]]))
    def run_nonsense(self, arguments):
        self.ask(COMMAND, {"command": "palimpsest.run", "arguments": arguments})

    @precondition(lambda self: self.asked)
    @rule(which=SHARE)
    def cancel(self, which):
        """Cancel one of the last few requests, answered or not."""
        self.tell("$/cancelRequest", {"id": at(list(self.asked)[-4:], which)})

    @rule(scope=st.sampled_from(["all", "language", "folder", "document"]), uri=st.sampled_from(FILES))
    def pause(self, scope, uri):
        self.ask(COMMAND, {"command": "palimpsest.pause", "arguments": [{"scope": scope, "uri": uri}]})

    @rule()
    def go_on(self):
        self.ask(COMMAND, {"command": "palimpsest.pause", "arguments": [{"scope": "all", "paused": False}]})

    @rule(section=SETTINGS, pulls=st.booleans())
    def configure(self, section, pulls):
        self.tell("workspace/didChangeConfiguration", {"settings": None if pulls else {"palimpsest": section}})

    @rule(added=st.booleans())
    def change_folders(self, added):
        folder = [{"uri": "file:///code/sub", "name": "sub"}]
        event = {"added": folder if added else [], "removed": [] if added else folder}
        self.tell("workspace/didChangeWorkspaceFolders", {"event": event})

    # The editor: answers

    @precondition(lambda self: self.questions)
    @rule(which=SHARE, how=st.sampled_from(["well", "well", "no", "error", "nonsense"]), section=SETTINGS)
    def answer(self, which, how, section):
        self.answer_one(at(self.questions, which), how, section)

    def _answer_eagerly(self, question):
        if question in self.questions:
            self.answer_one(question, "well", {"debounceMs": 0})

    def answer_one(self, question, how, section):
        self.questions.remove(question)
        if how == "error":
            self.give(id=question["id"], error={"code": -32603, "message": "no"})
            return
        result = None
        if how == "nonsense":
            result = [3]
        elif question["method"] == "workspace/configuration":
            result = [section if how == "well" else None for _ in question["params"]["items"]]
        elif question["method"] == "workspace/applyEdit":
            params = question["params"]
            result = {"applied": how == "well" and self.apply(params["edit"], params.get("label"))}
        self.give(id=question["id"], result=result)

    @rule(eager=st.booleans())
    def answer_by_itself(self, eager):
        self.eager = eager

    def apply(self, edit, label=None):
        """Apply an edit as an editor does, if it is for the document as it is; it has to stay within the holes."""
        (change,) = edit["documentChanges"]
        uri, version = change["textDocument"]["uri"], change["textDocument"]["version"]
        document = self.documents.get(uri)
        if document is None or document.version != version:
            return False
        assert not document.lost
        edits = []
        for each in change["edits"]:
            start, end = (self._offset(document.text, each["range"][edge]) for edge in ("start", "end"))
            self._keeps_to_holes(uri, document.text, start, end, each["newText"], label)
            edits.append((start, end, each["range"], each["newText"]))
        edits.sort(key=lambda each: each[:2], reverse=True)
        for before, after in zip(edits[1:], edits, strict=False):
            assert before[1] <= after[0], "edits that overlap"
        self.edit(uri, *(((start, span["start"]), (end, span["end"]), new) for start, end, span, new in edits))
        return True

    def _keeps_to_holes(self, uri, text, start, end, new, label):
        """Check that the edit is within a hole of a job for this very text, swaps one of its texts for another, or mends."""
        for job in self.engine.jobs:
            here = job.request.document == uri and job.request.text == text
            if here and any(hole.start <= start and end <= hole.end for hole in job.request.holes):
                return
        if (label or "").startswith("Palimpsest: next edit"):
            assert text[start:end].isalnum()
            assert text[start:end] != new
            return
        if label == "Palimpsest: repair":
            # The parsers found it, without the engine: one token, after which less is broken.
            assert "\n" not in text[start:end] + new
            assert defects(uri, text[:start] + new + text[end:]) < defects(uri, text)
            return
        assert any(text[start:end] in written for written in self.writes), "an edit outside of any hole"

    # The engine

    @precondition(lambda self: self.engine.open())
    @rule(which=SHARE, texts=st.lists(FILLS, min_size=1, max_size=3))
    def finish(self, which, texts):
        self.finish_job(self.engine.jobs[at(self.engine.open(), which)], texts)

    @rule(texts=st.lists(FILLS, max_size=3))
    def be_quick(self, texts):
        """Do every job at once from now on, with these texts; or none."""
        self.engine.quick = (lambda job: self.finish_job(job, texts)) if texts else None

    def finish_job(self, job, texts):
        if job.future.done():
            return
        if job.cancelled.is_set():
            job.future.set_exception(FillCancelled("cancelled"))
            return
        holes = len(job.request.holes)
        first, *others = [(text,) * holes for text in texts]
        self.writes += [text for text in texts for text in (text, text.replace("\n", "\r\n"))]
        self.writes += [job.request.text[hole.start : hole.end] for hole in job.request.holes]
        reason = "" if any(first) else "nothing to say"
        job.future.set_result(Fill(first, Verdict("not checked"), reason, alternatives=tuple(others)))
        self.pass_time(0.0)

    @precondition(lambda self: self.engine.open())
    @rule(which=SHARE, text=FILLS, share=st.sampled_from([0.5, 1.0, 1.0]), step=st.integers(1, 50))
    def draft(self, which, text, share, step):
        number = at(self.engine.open(), which)
        pieces = (DraftPiece(text, share == 1.0),)
        self.engine.drafts[number](Draft(step, (pieces,) * len(self.engine.jobs[number].request.holes), share))
        self.pass_time(0.0)

    @precondition(lambda self: self.engine.open())
    @rule(
        which=SHARE,
        error=st.sampled_from(
            [OutOfMemory("out of memory"), MemoryError(), ValueError("x"), SystemExit(1), FillCancelled("")]
        ),
    )
    def fail(self, which, error):
        self.faults += not isinstance(error, OutOfMemory | FillCancelled)
        self.engine.jobs[at(self.engine.open(), which)].future.set_exception(error)
        self.pass_time(0.0)

    @rule()
    def notice_cancels(self):
        for number in self.engine.open():
            if self.engine.jobs[number].cancelled.is_set():
                self.engine.jobs[number].future.set_exception(FillCancelled("cancelled"))
        self.pass_time(0.0)

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.15, 0.3, 1.1, 45.0]))
    def wait(self, seconds):
        self.pass_time(seconds)

    # Invariants

    @invariant()
    def the_server_has_the_text_that_the_editor_has(self):
        documents = self.server.session.documents
        assert {document.uri for document in documents.recent()} == set(self.documents)
        for uri, model in self.documents.items():
            assert documents.lost(uri) == model.lost
            if not model.lost:
                assert documents.snapshot(uri).text == model.text
                assert documents.snapshot(uri).version == model.version

    @invariant()
    def no_more_than_one_job_a_document(self):
        live = Counter(
            job.request.document for job in self.engine.jobs if not job.future.done() and not job.cancelled.is_set()
        )
        assert max(live.values(), default=0) <= 1

    @invariant()
    def nothing_is_logged_but_what_the_engine_did(self):
        unexpected = [record for record in self.errors.records if record.getMessage() != "the engine failed"]
        assert [record.getMessage() for record in unexpected] == []
        assert len(self.errors.records) <= self.faults

    @invariant()
    def every_answer_has_its_form(self):
        if self.wrong:
            raise self.wrong[0]

    @invariant()
    def no_request_has_two_answers(self):
        assert max(self.answers.values(), default=0) <= 1

    @invariant()
    def every_empty_answer_has_its_reason(self):
        # One that was cancelled before it began is answered by the protocol, and has nothing to tell.
        for method in (INLINE, NEXT_EDIT):
            reasons = self.told[method, True] + self.told[method, "cancelled"]
            assert self.empty[method] <= reasons

    def teardown(self):
        try:
            self.end()
        finally:
            for patch in self.patches:
                patch.stop()
            logging.getLogger().removeHandler(self.errors)
            self.loop.close()

    def end(self):
        if not hasattr(self, "encoding"):
            return
        self.pass_time(1.0)
        self.ask("shutdown", None)
        self.pass_time(0.0)
        assert {msg_id: self.answers[msg_id] for msg_id in self.asked if self.answers[msg_id] != 1} == {}
        assert self.engine.closed
        assert all(job.cancelled.is_set() for job in self.engine.jobs if not job.future.done())
        for number in self.engine.open():
            self.engine.jobs[number].future.set_exception(FillCancelled("closed"))
        self.pass_time(200.0)
        assert len(self.server.session.jobs) == 0
        assert asyncio.all_tasks(self.loop) == set()
        assert [future for future in self.server.protocol._request_futures.values() if not future.done()] == []
        self.nothing_is_logged_but_what_the_engine_did()
        self.every_answer_has_its_form()


def language_of(uri):
    return "rust" if uri.endswith(".rs") else "python"


def defects(uri, text):
    """Count the nodes that a grammar could not place, or missed."""
    cursor, found = Parser(load(language_of(uri))).parse(text.encode("utf-8", "replace")).walk(), 0
    while True:
        found += cursor.node.is_error or cursor.node.is_missing
        if cursor.goto_first_child() or cursor.goto_next_sibling():
            continue
        while cursor.goto_parent():
            if cursor.goto_next_sibling():
                break
        else:
            return found


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=SESSIONS,
    stateful_step_count=60,
    deadline=None,
    derandomize=SESSIONS <= 60,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
