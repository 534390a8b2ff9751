"""The life cycle, message by message, on a server without a transport."""

import asyncio
import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.app import create_server
from palimpsest_server.protocol import lifecycle

INITIALIZE = {"processId": None, "rootUri": None, "capabilities": {}}


class Wire:
    """Hands messages to a server and keeps what it writes."""

    def __init__(self, engine):
        self.server = create_server(lambda settings: engine)
        self.server.protocol.set_writer(self)
        self.sent: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        self.sent.append(json.loads(data.split(b"\r\n\r\n", 1)[1]))

    def close(self) -> None:
        pass

    async def give(self, method=None, params=None, msg_id=None, **rest):
        message = {"jsonrpc": "2.0", **rest}
        message |= {"method": method} if method is not None else {}
        message |= {"params": params} if params is not None else {}
        message |= {"id": msg_id} if msg_id is not None else {}
        self.server.protocol.handle_message(message)
        for _ in range(10):
            await asyncio.sleep(0)

    async def until(self, condition):
        async def held():
            while not condition():
                await asyncio.sleep(0.001)

        await asyncio.wait_for(held(), 30)

    def answers(self, msg_id):
        return [m for m in self.sent if m.get("id") == msg_id and "method" not in m]

    def code(self, msg_id):
        (answer,) = self.answers(msg_id)
        return answer["error"]["code"]


@pytest.fixture
def wire(engine):
    return Wire(engine)


@pytest.fixture
async def ready(wire):
    await wire.give("initialize", INITIALIZE, 0)
    await wire.give("initialized", {})
    return wire


async def test_a_request_before_initialize_is_refused_and_a_notification_is_dropped(wire):
    await wire.give("textDocument/inlineCompletion", {}, 1)
    await wire.give("textDocument/didOpen", {})
    assert wire.code(1) == -32002
    assert len(wire.sent) == 1
    await wire.give("initialize", INITIALIZE, 2)
    assert "result" in wire.answers(2)[0]


async def test_initialize_is_served_once(ready):
    await ready.give("initialize", INITIALIZE, 7)
    assert ready.code(7) == -32600


async def test_an_initialize_that_cannot_be_read_can_be_sent_again(wire):
    await wire.give("initialize", {"capabilities": 3}, 1)
    assert wire.code(1) == -32602
    await wire.give("initialize", INITIALIZE, 2)
    assert "result" in wire.answers(2)[0]


async def test_after_shutdown_requests_are_refused(ready, engine):
    await ready.give("shutdown", None, 1)
    assert ready.answers(1) == [{"jsonrpc": "2.0", "id": 1, "result": None}]
    assert engine.closed == 1
    await ready.give("palimpsest/status", None, 2)
    await ready.give("shutdown", None, 3)
    assert (ready.code(2), ready.code(3)) == (-32600, -32600)


@pytest.mark.parametrize(("before", "code"), [(["shutdown"], 0), ([], 1)])
async def test_exit_ends_the_conversation_with_the_right_code(ready, before, code):
    for method in before:
        await ready.give(method, None, 1)
    assert not ready.server.protocol.stopping.is_set()
    await ready.give("exit")
    assert ready.server.protocol.stopping.is_set()
    assert ready.server.protocol.exit_code == code


async def test_exit_right_behind_shutdown_is_a_clean_end(ready):
    ready.server.protocol.handle_message({"jsonrpc": "2.0", "id": 1, "method": "shutdown"})
    ready.server.protocol.handle_message({"jsonrpc": "2.0", "method": "exit"})
    assert ready.server.protocol.exit_code == 0
    await asyncio.sleep(0)


async def test_params_that_cannot_be_read_are_answered(ready):
    await ready.give("textDocument/inlineCompletion", {"position": "here"}, 1)
    assert ready.code(1) == -32602


@pytest.mark.parametrize(
    ("method", "params", "reason"),
    [
        (
            "textDocument/inlineCompletion",
            {"position": "here"},
            "the params of textDocument/inlineCompletion cannot be read",
        ),
        ("workspace/executeCommand", {"command": "palimpsest.nothing"}, "there is no command palimpsest.nothing"),
        (
            "workspace/executeCommand",
            {"command": "palimpsest.run", "arguments": []},
            "palimpsest.run expects one argument",
        ),
        ("codeAction/resolve", {"title": "a", "data": 3}, "codeAction/resolve expects one argument"),
    ],
)
async def test_a_request_with_refused_params_is_in_the_status_and_among_the_last_requests(
    ready, method, params, reason
):
    await ready.give(method, params, 1)
    (answer,) = ready.answers(1)
    assert answer["error"]["code"] == -32602
    assert answer["error"]["message"].startswith(reason)
    last = ready.server.session.board.status()["lastEmpty"]
    assert last == {"request": method, "reason": f"refused: {answer['error']['message']}"}
    (noted,) = ready.server.session.requests.recent
    assert (noted.method, noted.reason) == (method, last["reason"])


async def test_the_place_that_cannot_be_read_is_named(wire):
    await wire.give(
        "initialize",
        {**INITIALIZE, "capabilities": {"textDocument": {"codeAction": {"dataSupport": []}}, "workspace": 3}},
        1,
    )
    (answer,) = wire.answers(1)
    assert answer["error"]["message"].startswith("the params of initialize cannot be read: capabilities")


@pytest.mark.parametrize(
    ("trace", "said"), [("compact", "'compact'"), ("verbose", ""), ("off", ""), (None, ""), (7, "7")]
)
async def test_an_unknown_trace_is_off(wire, caplog, trace, said):
    await wire.give("initialize", {**INITIALIZE, "trace": trace}, 1)
    assert "result" in wire.answers(1)[0]
    await wire.give("$/setTrace", {"value": trace})
    warnings = [record.getMessage() for record in caplog.records if "trace is" in record.getMessage()]
    assert warnings == [f"the client's trace is {said}, which is no such value; it counts as off"] * 2 * bool(said)


@pytest.mark.parametrize(
    ("root", "folders"),
    [
        ({"rootPath": "."}, {"file://{here}": "{here}"}),
        ({"rootPath": "sub/.."}, {"file://{here}": "{here}"}),
        ({"rootPath": "{here}"}, {"file://{here}": "{here}"}),
        ({"rootPath": "C:\\x"}, {}),
        ({"rootPath": "\\\\host\\share"}, {}),
        ({"rootPath": "a\0b"}, {}),
        ({"rootPath": ""}, {}),
        ({"rootUri": "http://["}, {}),
        ({"rootUri": "."}, {}),
        ({"rootUri": "untitled:x", "rootPath": "."}, {}),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths of other systems")
async def test_a_root_of_any_kind_is_taken_up_or_left_and_the_engine_opens(wire, tmp_path, monkeypatch, root, folders):
    monkeypatch.chdir(tmp_path)
    named = {key: value.replace("{here}", str(tmp_path)) for key, value in root.items()}
    await wire.give("initialize", INITIALIZE | named, 0)
    await wire.give("initialized", {})
    assert wire.server.session.board.status()["state"] == "ready"
    here = {uri.format(here=tmp_path): path.format(here=tmp_path) for uri, path in folders.items()}
    assert {uri: str(path) for uri, path in wire.server.session.folders.items()} == here


@pytest.mark.parametrize(("named", "told", "watched"), [(7, None, 7), (7, 8, 8), (None, 8, 8), (None, None, None)])
async def test_the_clients_process_is_that_of_initialize_or_of_the_command_line(wire, named, told, watched):
    wire.server.process_id = named
    await wire.give("initialize", INITIALIZE | {"processId": told}, 0)
    assert wire.server.process_id == watched


async def test_an_unknown_request_is_answered_and_an_unknown_notification_is_not(ready):
    before = len(ready.sent)
    await ready.give("textDocument/hover", {"textDocument": {"uri": "x"}, "position": {"line": 0, "character": 0}}, 1)
    await ready.give("$/nobody/knows", {"jsonrpc": "2.0", "id": 5, "method": "exit"}, 2)
    await ready.give("nobody/knows", None)
    assert (ready.code(1), ready.code(2)) == (-32601, -32601)
    assert len(ready.sent) == before + 2
    assert not ready.server.protocol.stopping.is_set()


@pytest.mark.parametrize(
    "message",
    [
        *([], 3, "x", None, {}, {"id": 1, "method": "shutdown"}),
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "method": ["shutdown"], "id": 1},
        {"jsonrpc": "2.0", "method": "shutdown", "id": {}},
        {"jsonrpc": "2.0", "method": "shutdown", "id": 1.5},
        {"jsonrpc": 2.0, "method": "shutdown", "id": 1},
    ],
)
async def test_json_that_is_no_message_is_answered_without_an_id(ready, message):
    before = len(ready.sent)
    ready.server.protocol.handle_message(message)
    (answer,) = ready.sent[before:]
    assert answer["error"]["code"] == -32600
    assert answer.get("id") is None


async def test_shutdown_answers_requests_under_way(ready, engine):
    document = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": ""}
    await ready.give("textDocument/didOpen", {"textDocument": document})
    where = {"textDocument": {"uri": "file:///a.py"}, "position": {"line": 0, "character": 0}}
    await ready.give("textDocument/inlineCompletion", {**where, "context": {"triggerKind": 1}}, 1)
    edge = {"line": 0, "character": 0}
    other = {"uri": "file:///b.py", "languageId": "python", "version": 1, "text": ""}
    await ready.give("textDocument/didOpen", {"textDocument": other})
    arguments = [{"uri": "file:///b.py", "range": {"start": edge, "end": edge}}]
    await ready.give("workspace/executeCommand", {"command": "palimpsest.fillSelection", "arguments": arguments}, 2)
    await ready.until(lambda: len(engine.jobs) == 2)
    await ready.give("shutdown", None, 3)
    assert [len(ready.answers(n)) for n in (1, 2, 3)] == [1, 1, 1]
    assert all(job.cancelled.is_set() for job in engine.jobs)


async def test_a_crash_in_a_handler_is_one_answer_and_one_logged_error(ready, monkeypatch, caplog):
    def crash() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(ready.server.session.board, "status", crash)
    await ready.give("palimpsest/status", None, 1)
    assert ready.code(1) == -32603
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    monkeypatch.undo()
    await ready.give("palimpsest/status", None, 2)
    assert ready.answers(2)[0]["result"]["state"] == "ready"


async def test_a_crash_in_a_notification_is_logged_once(ready, monkeypatch, caplog):
    monkeypatch.setattr(ready.server.session.documents, "close", lambda uri: 1 / 0)
    await ready.give("textDocument/didClose", {"textDocument": {"uri": "file:///a.py"}})
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


async def test_an_unknown_command_is_refused(ready):
    await ready.give("workspace/executeCommand", {"command": "palimpsest.nobody"}, 1)
    assert ready.code(1) == -32602


async def test_notifications_leave_nothing_behind(ready):
    document = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": ""}
    await ready.give("textDocument/didOpen", {"textDocument": document})
    for version in range(2, 30):
        change = {"uri": "file:///a.py", "version": version}
        await ready.give("textDocument/didChange", {"textDocument": change, "contentChanges": [{"text": "x"}]})
    assert ready.server.protocol._request_futures == {}


async def test_an_answer_to_a_question_that_was_given_up_is_dropped(ready, caplog):
    question = asyncio.ensure_future(
        ready.server.protocol.send_request_async("workspace/configuration", types.ConfigurationParams([]))
    )
    await asyncio.sleep(0)
    msg_id = ready.sent[-1]["id"]
    question.cancel()
    await asyncio.sleep(0)
    await ready.give(msg_id=msg_id, result=[None])
    assert [record for record in caplog.records if record.levelno >= 40] == []
    assert ready.server.protocol._request_futures == {}


A = "file:///a.py"
START = {"line": 0, "character": 0}
LOST = "the document is out of step: a change could not be read; reopen it"


def opening(uri=A, version=1, text="one\ntwo"):
    return {"textDocument": {"uri": uri, "languageId": "python", "version": version, "text": text}}


def changing(*changes, uri=A, version=2):
    return {"textDocument": {"uri": uri, "version": version}, "contentChanges": list(changes)}


def edges(*places):
    (line, character), (end_line, end_character) = places
    return {"start": {"line": line, "character": character}, "end": {"line": end_line, "character": end_character}}


@pytest.mark.parametrize("far", [2**31 - 1, 2**31, 4294967295, 2**53 - 1, 1e300])
@pytest.mark.parametrize(
    ("places", "text"),
    [
        (lambda far: ((0, 1), (0, far)), "o!\ntwo"),
        (lambda far: ((0, 1), (far, 0)), "o!"),
        (lambda far: ((0, 1), (far, far)), "o!"),
        (lambda far: ((1, far), (far, far)), "one\ntwo!"),
        (lambda far: ((0, -far), (0, 1)), "!ne\ntwo"),
        (lambda far: ((-far, -far), (0, far)), "!\ntwo"),
    ],
)
async def test_a_position_out_of_all_bounds_is_the_end_or_the_beginning(ready, far, places, text):
    await ready.give("textDocument/didOpen", opening())
    await ready.give("textDocument/didChange", changing({"range": edges(*places(far)), "text": "!"}))
    assert ready.server.session.documents.snapshot(A).text == text


@pytest.mark.parametrize(
    ("params", "version"),
    [
        (changing({"text": "new"}, version=None), 0),
        (changing({"text": "new"}, version="7"), 0),
        (changing({"text": "new"}, version=2**53), 2**31 - 1),
        (changing({"range": None, "text": "new"}), 2),
        (changing({"range": None, "rangeLength": None, "text": "new"}), 2),
        (changing({"range": edges((0, 0), (9, 9)), "rangeLength": -1, "text": "new"}), 2),
        ({"textDocument": {"uri": A}, "contentChanges": [{"text": "new"}]}, 0),
    ],
)
async def test_an_error_with_one_possible_meaning_is_mended(ready, params, version):
    await ready.give("textDocument/didOpen", opening())
    await ready.give("textDocument/didChange", params)
    document = ready.server.session.documents.snapshot(A)
    assert (document.text, document.version) == ("new", version)
    assert not ready.server.session.documents.lost(A)


@pytest.mark.parametrize("item", [{"version": None}, {"version": 2**40}, {"languageId": None}, {"languageId": 3}])
async def test_a_document_is_opened_whatever_its_version_and_language(ready, item):
    params = opening()
    params["textDocument"] |= item
    await ready.give("textDocument/didOpen", params)
    assert ready.server.session.documents.snapshot(A).text == "one\ntwo"


UNREADABLE = [
    changing({"range": edges((0, 0), (0, 1))}),
    changing({"range": edges((0, 0), (0, 1)), "text": None}),
    changing({"range": {"start": START}, "text": "x"}),
    changing({"range": 5, "text": "x"}),
    changing({"text": 5}),
    changing({"text": "x"}, uri=None),
    changing({"range": {"start": START, "end": {"line": "two", "character": 0}}, "text": "x"}),
    changing({"text": "fine"}, "not a change"),
    {"textDocument": {"uri": A, "version": 2}},
    {"textDocument": {"uri": A, "version": 2}, "contentChanges": None},
    {"contentChanges": [{"text": "of which document?"}]},
    None,
]


def warnings(wire):
    return [m["params"]["message"] for m in wire.sent if m.get("method") == "window/showMessage"]


async def reason(wire, msg_id):
    where = {"textDocument": {"uri": A}, "position": START}
    await wire.give("textDocument/inlineCompletion", {**where, "context": {"triggerKind": 1}}, msg_id)
    await wire.until(lambda: wire.answers(msg_id))
    return (wire.server.session.board.status()["lastEmpty"] or {}).get("reason")


@pytest.mark.parametrize("params", UNREADABLE)
@pytest.mark.parametrize("mend", ["didOpen", "didChange"])
async def test_after_a_change_that_cannot_be_read_nothing_is_filled_until_the_text_comes_whole(params, mend):
    wire = Wire(ScriptedEngine(["x"]))
    await wire.give("initialize", INITIALIZE, 0)
    await wire.give("initialized", {})
    await wire.give("textDocument/didOpen", opening())
    assert await reason(wire, 1) is None
    await wire.give("textDocument/didChange", params)
    await wire.give("textDocument/didChange", params)
    assert await reason(wire, 2) == LOST
    await wire.give("textDocument/didChange", changing({"range": edges((0, 0), (0, 0)), "text": "x"}, version=3))
    assert await reason(wire, 3) == LOST
    assert len(warnings(wire)) == 1
    await wire.give(f"textDocument/{mend}", opening() if mend == "didOpen" else changing({"text": "new"}, version=4))
    assert await reason(wire, 4) is None
    wire.server.session.close()


async def test_a_change_that_fails_in_the_server_puts_its_document_out_of_step(ready, monkeypatch):
    documents = ready.server.session.documents
    await ready.give("textDocument/didOpen", opening())
    await ready.give("textDocument/didOpen", opening("file:///b.py"))
    monkeypatch.setattr(type(documents), "change", lambda *_: 1 / 0)
    await ready.give("textDocument/didChange", changing({"text": "new"}))
    assert (documents.lost(A), documents.lost("file:///b.py")) == (True, False)


async def test_a_change_that_cannot_be_read_right_behind_the_opening_counts(ready):
    handle = ready.server.protocol.handle_message
    handle({"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": opening()})
    handle({"jsonrpc": "2.0", "method": "textDocument/didChange", "params": changing("nonsense")})
    await ready.give("textDocument/didOpen", opening("file:///b.py"))
    documents = ready.server.session.documents
    assert (documents.lost(A), documents.lost("file:///b.py")) == (True, False)


async def test_an_unreadable_change_of_a_notebook_concerns_all_its_cells(ready):
    cells = [opening(f"nb:{n}")["textDocument"] for n in range(2)]
    notebook = {
        "uri": "file:///n.ipynb",
        "notebookType": "jupyter-notebook",
        "version": 1,
        "cells": [{"kind": 2, "document": cell["uri"]} for cell in cells],
    }
    await ready.give("notebookDocument/didOpen", {"notebookDocument": notebook, "cellTextDocuments": cells})
    await ready.give("textDocument/didOpen", opening())
    identifier = {"uri": "file:///n.ipynb", "version": 2}
    change = {"cells": {"textContent": [{"document": {"uri": "nb:0", "version": 2}, "changes": [{"text": 3}, 4]}]}}
    await ready.give("notebookDocument/didChange", {"notebookDocument": identifier, "change": change})
    documents = ready.server.session.documents
    assert [documents.lost(uri) for uri in ("nb:0", "nb:1", A)] == [True, True, False]
    array = {"start": 0, "deleteCount": 2**53}
    change = {"cells": {"structure": {"array": array, "didClose": [{"uri": "nb:0"}, {"uri": "nb:1"}]}}}
    await ready.give("notebookDocument/didChange", {"notebookDocument": identifier, "change": change})
    assert documents.snapshot("nb:0") is None


async def test_the_data_of_an_action_is_not_mended(ready):
    given = {"version": 2**53, "range": None, "line": -1, "start": -5}
    lifecycle.mend({"data": given}, of_text=False)
    assert given == {"version": 2**53, "range": None, "line": -1, "start": -5}


async def test_an_answer_without_a_question_is_dropped(ready, engine, caplog):
    await ready.give("textDocument/didOpen", opening())
    where = {"textDocument": {"uri": A}, "position": {"line": 0, "character": 3}, "context": {"triggerKind": 1}}
    await ready.give("textDocument/inlineCompletion", where, 5)
    await ready.until(lambda: engine.jobs)
    for msg_id in (5, 6, "x"):
        await ready.give(msg_id=msg_id, result=[])
        await ready.give(msg_id=msg_id, error={"code": 1, "message": "no"})
    engine.finish("x")
    await ready.until(lambda: ready.answers(5))
    assert ready.answers(5)[0]["result"][0]["insertText"] == "x"
    assert [record for record in caplog.records if record.levelno >= 40] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text("ab\ud83d😀/:", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
PLACE = st.fixed_dictionaries({"line": st.integers(-1, 3), "character": st.integers(-1, 3)}) | JSON
RANGE = st.fixed_dictionaries({"start": PLACE, "end": PLACE}) | JSON
URIS = st.sampled_from(["file:///a.py", "file:///b.py", "", "x:%%%"]) | JSON
DOCUMENT = st.fixed_dictionaries(
    {
        "uri": URIS,
        "version": st.integers(0, 3) | JSON,
        "languageId": st.just("python") | JSON,
        "text": st.text(max_size=4) | JSON,
    }
)
CHANGE = st.fixed_dictionaries({"text": st.text(max_size=3) | JSON}, optional={"range": RANGE})
ARGUMENT = st.fixed_dictionaries({"uri": URIS, "range": RANGE}, optional={"version": JSON}) | JSON
PARAMS = JSON | st.fixed_dictionaries(
    {},
    optional={
        "textDocument": DOCUMENT,
        "position": PLACE,
        "range": RANGE,
        "context": st.fixed_dictionaries({"triggerKind": st.integers(0, 3), "diagnostics": st.just([])}) | JSON,
        "contentChanges": st.lists(CHANGE, max_size=2) | JSON,
        "command": st.just("palimpsest.fillSelection") | JSON,
        "arguments": st.lists(ARGUMENT, max_size=2) | JSON,
        "settings": st.fixed_dictionaries({"palimpsest": JSON}) | JSON,
        "id": st.integers(0, 9) | JSON,
        "token": JSON,
    },
)
METHODS = st.sampled_from(
    [
        types.TEXT_DOCUMENT_INLINE_COMPLETION,
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.WORKSPACE_EXECUTE_COMMAND,
        types.TEXT_DOCUMENT_DID_OPEN,
        types.TEXT_DOCUMENT_DID_CHANGE,
        types.TEXT_DOCUMENT_DID_CLOSE,
        types.WORKSPACE_DID_CHANGE_CONFIGURATION,
        types.WINDOW_WORK_DONE_PROGRESS_CANCEL,
        types.INITIALIZE,
        types.INITIALIZED,
        types.CANCEL_REQUEST,
        "palimpsest/status",
        "palimpsest/nobody",
        "",
    ]
)


@settings(max_examples=40)
@given(messages=st.lists(st.tuples(METHODS, PARAMS, st.booleans()), max_size=20))
def test_any_messages_get_one_answer_a_request_and_the_server_lives(messages):
    async def conversation():
        wire = Wire(ScriptedEngine(["x"]))
        await wire.give("initialize", INITIALIZE, "first")
        await wire.give("initialized", {})
        for n, (method, params, asks) in enumerate(messages):
            await wire.give(method, params, n if asks else None)
        await wire.give("palimpsest/status", None, "last")
        counts = [len(wire.answers(n)) for n, (_, _, asks) in enumerate(messages) if asks]
        assert counts == [1] * len(counts)
        assert wire.answers("last")[0]["result"]["state"] in ("ready", "busy", "paused")
        wire.server.session.close()
        await asyncio.sleep(0)

    asyncio.run(conversation())
