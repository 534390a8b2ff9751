"""The server answers and goes on after anything that no editor, no engine and no machine should do."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from e2e.raw import ABLE, PATIENCE, SCRIPTED, URI, framed, gone, message, place, raw

LIVES = {"script": ["x"]}
LOST = "the document is out of step: a change could not be read; reopen it"
EDGES = {"start": place(0, 0), "end": place(0, 1)}


def body(**fields):
    return json.dumps({"jsonrpc": "2.0", **fields}).encode()


def still_serves(client):
    """Open a document, ask, and be answered."""
    client.open("", uri="file:///project/after.py")
    assert client.offered(uri="file:///project/after.py") == "x"


@pytest.fixture(scope="module")
def tried():
    with raw(LIVES, {"workspace/applyEdit": {"applied": True}, "workspace/configuration": None}) as client:
        client.initialize({**ABLE, "textDocument": {"codeAction": ABLE["textDocument"]["codeAction"]}})
        yield client
        still_serves(client)
        assert client.end() == 0


# Bytes


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n",
        b"garbage without an end",
        b"\r\n\r\n\r\n",
        b"\x00\xff\xfe\n" * 100,
        b"Content-Length: many\r\n\r\n",
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 99999999999999\r\n\r\n",
        b"Content-Length: 9999999999\r\n\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"Content-Type: x\r\n\r\n",
        b"X-Header: " + b"x" * 60_000 + b"\r\n",
        b"Content-Length: 0\r\n\r\n",
        framed(b"{"),
        framed(b"\xff\xfe\xff"),
        framed(b"nonsense"),
        framed(b"[" * 200_000),
        framed(b"1" * 100_000),
        framed(b"NaN"),
        framed(b"[]"),
        framed(b"[" + body(id="batch", method="palimpsest/status") + b"]"),
        framed(b'"text"'),
        framed(b"{}"),
        b"Content-Length: 5\r\n\r\n" + body(method="palimpsest/status", id="short"),
        b"content-length: 2\r\n\r\n{}",
        b"Content-Length: 2\n\n{}",
        b"Content-Length: 2\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{}",
    ],
)
def test_garbage_between_messages_costs_no_message_after_it(tried, garbage):
    tried.send(garbage)
    still_serves(tried)


CHANGE = {
    "textDocument": {"uri": URI, "version": 2},
    "contentChanges": [{"range": {"start": place(0, 0), "end": place(0, 0)}, "text": "é"}],
}
CHANGING = body(method="textDocument/didChange", params=CHANGE)


@pytest.mark.parametrize(
    "sent",
    [
        framed(json.dumps({"jsonrpc": "2.0", "method": "textDocument/didChange", "params": CHANGE}).encode("utf-16")),
        framed(CHANGING.replace(rb"\u00e9", "é".encode("latin-1"))),
        framed(CHANGING.replace(rb"\u00e9", b"\xf0\x9f\x98")),
        framed(b"\xef\xbb\xbf" + CHANGING),
        framed(CHANGING[:-1]),
        framed(CHANGING + b"}"),
        framed(CHANGING.replace(b'"2.0"', b'"1.0"')),
        framed(CHANGING.replace(b'"2.0"', b"2.0")),
        framed(b"[" + CHANGING + b"]"),
        framed(CHANGING.replace(b'"textDocument/didChange"', b"null")),
        framed(CHANGING.replace(b'"textDocument/didChange"', b'["textDocument/didChange"]')),
        framed(body(id=1000, method="textDocument/didChange", params=CHANGE)),
        framed(body(method="textDocument/didChange", params=[CHANGE])),
        framed(body(method="textDocument/didChange", params={"uri": URI})),
        framed(body(method="textDocument/didOpen", params={"textDocument": {"uri": URI, "text": 5}})),
        framed(body(method="textDocument/didClose", params={"textDocument": URI})),
        framed(body(method="notebookDocument/didChange", params=None)),
        framed(b"[" * 200_000),
        b"Content-Lenght: %d\r\n\r\n" % len(CHANGING) + CHANGING,
        b"Content-Length: many\r\n\r\n" + CHANGING,
        b"Content-Length: 99999999999\r\n\r\n" + CHANGING,
        b"Content-Length: %d\r\n\r\n" % (len(CHANGING) - 9) + CHANGING,
        CHANGING,
    ],
)
def test_nothing_is_offered_for_a_text_that_the_server_may_not_know(sent):
    with raw(LIVES) as client:
        client.initialize()
        client.open("")
        assert client.offered() == "x"
        client.send(sent)
        assert client.offered() == LOST
        actions = {"textDocument": {"uri": URI}, "range": EDGES, "context": {"diagnostics": []}}
        assert all("disabled" in each for each in client.ask("textDocument/codeAction", actions)["result"] or ())
        client.type(0, 0, "y", version=3)
        assert client.offered() == LOST
        client.change({"text": ""}, version=4)
        assert client.offered() == "x"
        assert client.end() == 0


@pytest.mark.parametrize(
    "sent",
    [
        framed(body(method="palimpsest/nobody", params=5)),
        framed(body(method="$/setTrace", params={"value": 5})),
        framed(b'{"method": "workspace/didChangeConfiguration"}'),
        framed(body(id=1000, method="textDocument/hover", params=5)),
        b"\r\n\r\n",
        b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\n",
    ],
)
def test_messages_about_other_things_put_no_text_out_of_step(sent):
    with raw(LIVES) as client:
        client.initialize()
        client.open("")
        client.send(sent)
        assert client.offered() == "x"
        assert client.end() == 0


def test_a_length_that_is_too_long_costs_the_message_that_it_takes_in():
    with raw(LIVES) as client:
        client.initialize()
        status = body(id="lost", method="palimpsest/status")
        client.send(b"Content-Length: %d\r\n\r\n" % (len(status) + 5) + status)
        client.tell("palimpsest/nobody")
        still_serves(client)
        assert client.end() == 0


def test_a_header_without_an_end_is_the_end():
    with raw(LIVES) as client:
        client.initialize()
        with suppress(BrokenPipeError):  # it need not read to the end
            client.send(b"x" * 1_000_000)
        assert client.process.wait(PATIENCE) == 1


# Messages


def test_unknown_methods_are_refused_or_ignored():
    with raw(LIVES) as client:
        client.initialize()
        for method in ("nobody/knows", "$/nobody", "textDocument/hover", "$/cancelRequest", "textDocument/didOpen", ""):
            assert client.ask(method, {})["error"]["code"] in (-32601, -32602)
            client.tell(method, {})
        client.tell("$/setTrace", {"value": "verbose"})
        client.tell("$/progress", {"token": "nobody", "value": {"kind": "end"}})
        client.tell("window/workDoneProgress/cancel", {"token": "nobody"})
        for nobody in ("nobody", 99999, -1):
            client.tell("$/cancelRequest", {"id": nobody})
            client.send(framed(body(id=nobody, result={"applied": True})))
            client.send(framed(body(id=nobody, error={"code": 1, "message": "no"})))
            client.send(framed(body(id=nobody)))
        still_serves(client)
        assert client.end() == 0


def test_two_requests_with_one_id_have_two_answers():
    with raw({"script": ["x"], "steps": 2, "step_seconds": 0.05}) as client:
        client.initialize()
        client.open("")
        client.open("", uri="file:///project/b.py")
        for uri in (URI, "file:///project/b.py"):
            client.send(message("textDocument/inlineCompletion", client.at(uri=uri), "twice"))
        client.until(lambda: client.count("twice") == 2)
        still_serves(client)
        assert client.end() == 0


@pytest.mark.parametrize("where", [(0, 1), (0, 2**31), (2**53, 0), (-1, -1), (5, 5), (0, 2), (0, 4294967295)])
def test_positions_that_are_none(tried, where):
    tried.open("😀\n")
    for kind in (1, 2):
        assert "result" in tried.inline(*where, kind=kind)
    edges = {"start": place(*where), "end": place(0, 0)}
    document = {"textDocument": {"uri": URI}}
    assert "result" in tried.ask("textDocument/codeAction", document | {"range": edges, "context": {"diagnostics": []}})
    command = {"command": "palimpsest.fillSelection", "arguments": [{"uri": URI, "range": edges}]}
    assert "result" in tried.ask("workspace/executeCommand", command)
    tried.change({"range": edges, "text": "é"})
    still_serves(tried)


def test_documents_that_are_not_open_and_versions_out_of_order():
    with raw(LIVES) as client:
        client.initialize()
        client.type(0, 0, "x")
        assert client.offered() == "the document is not open"
        client.tell("textDocument/didClose", {"textDocument": {"uri": URI}})
        client.open("a\n", version=5)
        for version in (3, 9, 9, -2):
            client.type(1, 0, " ", version=version)
        client.open("b\n")
        assert client.offered(1, 0) == "x"
        assert client.end() == 0


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
DOCUMENT = {"uri": URI}
TRUE = {
    "textDocument/inlineCompletion": {
        "textDocument": DOCUMENT,
        "position": place(0, 0),
        "context": {"triggerKind": 1, "selectedCompletionInfo": {"range": EDGES, "text": "x"}},
    },
    "textDocument/completion": {"textDocument": DOCUMENT, "position": place(0, 0), "context": {"triggerKind": 1}},
    "textDocument/codeAction": {
        "textDocument": DOCUMENT,
        "range": EDGES,
        "context": {"diagnostics": [{"range": EDGES, "message": "m", "severity": 1}], "only": ["quickfix"]},
    },
    "codeAction/resolve": {"title": "t", "data": {"action": "alternative", "uri": URI, "range": EDGES, "version": 1}},
    "completionItem/resolve": {"label": "x", "textEdit": {"range": EDGES, "newText": "x"}},
    "workspace/executeCommand": {
        "command": "palimpsest.run",
        "arguments": [{"action": "fill", "uri": URI, "range": EDGES, "version": 1, "problems": [EDGES], "number": 0}],
    },
    "workspace/didChangeConfiguration": {"settings": {"palimpsest": {"seed": 1, "drafts": True}}},
    "workspace/didChangeWorkspaceFolders": {"event": {"added": [{"uri": "file:///w", "name": "w"}], "removed": []}},
    "textDocument/didOpen": {"textDocument": DOCUMENT | {"languageId": "python", "version": 1, "text": "x\n"}},
    "textDocument/didChange": {
        "textDocument": DOCUMENT | {"version": 2},
        "contentChanges": [{"range": EDGES, "text": "y"}, {"text": "all"}],
    },
    "textDocument/didClose": {"textDocument": DOCUMENT},
    "notebookDocument/didOpen": {
        "notebookDocument": {
            "uri": "file:///n.ipynb",
            "notebookType": "t",
            "version": 1,
            "cells": [{"kind": 2, "document": URI}],
        },
        "cellTextDocuments": [DOCUMENT | {"languageId": "python", "version": 1, "text": "x\n"}],
    },
    "notebookDocument/didChange": {
        "notebookDocument": {"uri": "file:///n.ipynb", "version": 2},
        "change": {
            "cells": {
                "structure": {"array": {"start": 0, "deleteCount": 1, "cells": []}, "didClose": [DOCUMENT]},
                "textContent": [{"document": DOCUMENT | {"version": 2}, "changes": [{"text": "z"}]}],
            }
        },
    },
    "notebookDocument/didClose": {"notebookDocument": {"uri": "file:///n.ipynb"}, "cellTextDocuments": [DOCUMENT]},
    "palimpsest/status": {},
}


def paths(value, before=()):
    """Yield the place of every value in a JSON value."""
    found = [before]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        found += paths(each, (*before, key))
    return found


def put(value, path, new):
    """Return the value with something else in one place."""
    if not path:
        return new
    if isinstance(value, dict):
        return value | {path[0]: put(value[path[0]], path[1:], new)}
    return [put(each, path[1:], new) if at == path[0] else each for at, each in enumerate(value)]


SPOTS = [(method, path) for method, params in TRUE.items() for path in paths(params)]


@settings(
    max_examples=300,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(spots=st.lists(st.tuples(st.sampled_from(SPOTS), ANY), min_size=1, max_size=3), asks=st.booleans())
def test_any_type_in_any_field(tried, spots, asks):
    tried.open("a\n")
    for (method, path), value in spots:
        params = put(TRUE[method], path, value)
        if asks:
            answer = tried.ask(method, params)
            assert ("result" in answer) != ("error" in answer)
            assert answer.get("error", {}).get("code") != -32603, answer
        else:
            tried.tell(method, params)
    assert tried.status()["state"] in ("ready", "busy", "paused", "starting")


# Editors that do not answer, or are gone


def test_an_editor_that_answers_nothing_is_served_all_the_same():
    slow = {"steps": 3, "step_seconds": 0.3}  # what is shorter than half a second shows no progress
    with raw(LIVES | slow) as client:
        begun = time.monotonic()
        client.initialize()
        client.open("1")
        where = {"uri": URI, "range": {"start": place(0, 0), "end": place(0, 1)}}
        running = client.asked(
            "workspace/executeCommand", {"command": "palimpsest.fillSelection", "arguments": [where]}
        )
        client.until(lambda: client.said("workspace/applyEdit"))
        assert client.said("workspace/configuration")
        assert client.said("client/registerCapability")
        assert client.said("window/workDoneProgress/create")
        still_serves(client)
        client.tell("workspace/didChangeConfiguration", {"settings": None})
        still_serves(client)
        client.tell("$/cancelRequest", {"id": running})
        assert client.answer(running)["error"]["code"] == -32800
        assert client.end() == 0
        assert time.monotonic() - begun < PATIENCE


def test_an_editor_that_reads_nothing_holds_nobody_up():
    pipe = subprocess.PIPE
    with subprocess.Popen([*SCRIPTED, json.dumps(LIVES)], stdin=pipe, stdout=pipe) as process:
        params = {"processId": None, "rootUri": None, "capabilities": {}}
        process.stdin.write(message("initialize", params, 0) + message("initialized", {}))
        process.stdin.write(b"".join(message("palimpsest/status", None, at) for at in range(1, 5000)))
        process.stdin.write(message("shutdown", None, 5000) + message("exit"))
        process.stdin.flush()
        try:
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_the_process_ends_when_nobody_can_read_its_output():
    pipe = subprocess.PIPE
    with subprocess.Popen([*SCRIPTED, json.dumps(LIVES)], stdin=pipe, stdout=pipe) as process:
        params = {"processId": None, "rootUri": None, "capabilities": {}}
        process.stdin.write(message("initialize", params, 0))
        process.stdin.flush()
        process.stdout.read(1)
        process.stdout.close()
        process.stdin.write(message("palimpsest/status", None, 1))
        process.stdin.flush()
        try:
            assert process.wait(PATIENCE) == 1
        finally:
            process.kill()


def test_an_editor_that_is_killed_takes_the_server_along():
    code = (
        "import subprocess, sys, time\n"
        "server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    engine = json.dumps({"steps": 1000, "step_seconds": 60.0})
    with subprocess.Popen([sys.executable, "-c", code, *SCRIPTED, engine], stdout=subprocess.PIPE) as editor:
        pid = int(editor.stdout.readline())
        editor.send_signal(signal.SIGKILL)
        editor.wait()
        assert gone(pid)


def test_an_editor_that_is_killed_while_another_process_holds_its_pipes():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as editor, raw(LIVES) as client:
        client.initialize(processId=editor.pid)
        still_serves(client)
        time.sleep(0.5)
        editor.kill()
        editor.wait()
        assert client.process.wait(PATIENCE) == 1


@pytest.mark.parametrize("pid", [-1, 2**31 - 1])
def test_a_process_id_that_says_nothing_is_no_reason_to_go(pid):
    with raw(LIVES) as client:
        client.initialize(processId=pid)
        time.sleep(1.5)
        still_serves(client)
        assert client.end() == 0


# Engines


@pytest.mark.parametrize("how", ["in", "at"])
@pytest.mark.parametrize(
    "what",
    [
        "ValueError",
        "MemoryError",
        "OutOfMemory",
        "KeyboardInterrupt",
        "SystemExit",
        "GeneratorExit",
        "CancelledError",
        "Odd",
    ],
)
def test_any_error_of_an_engine_is_a_reason_that_is_told_once(how, what):
    with raw({"kind": "faulty", "script": ["x"]}) as client:
        client.initialize()
        uri = f"file:///project/{how}-{what}.py"
        client.open("", uri=uri)
        for turn in range(5):
            client.type(turn, 0, "\n", uri=uri, version=2 + turn)
            answer = client.inline(turn + 1, 0, uri=uri)
            assert answer["result"] is None
            assert client.status()["lastEmpty"]["reason"]
        still_serves(client)
        told = [
            each["message"] for method in ("window/showMessage", "window/logMessage") for each in client.said(method)
        ]
        assert len(told) == len(set(told)) <= 1
        assert client.end() == 0


def test_an_engine_that_hangs_is_given_up_and_taken_up_again():
    with raw({"kind": "faulty", "script": ["x"]}) as client:
        options = {"palimpsest": {"deadlineMs": 1000, "debounceMs": 0}}
        client.initialize({}, initializationOptions=options)
        uri = "file:///project/hangs.py"
        client.open("", uri=uri)
        automatic = client.inline(uri=uri, kind=2)
        assert automatic["result"] is None
        assert "no sign of life" in client.offered(uri=uri)
        client.open("", uri="file:///project/b.py")
        assert "no sign of life" in client.offered(uri="file:///project/b.py")
        assert client.status()["state"] == "error"
        told = [each["message"] for each in client.said("window/showMessage")]
        assert len(told) == 1
        assert client.end() == 0
