"""The process itself: its end, and its standard output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTED = [sys.executable, str(Path(__file__).with_name("scripted_server.py"))]
PATIENCE = 60
DOCUMENT = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": ""}
ASKED = {
    "textDocument": {"uri": "file:///a.py"},
    "position": {"line": 0, "character": 0},
    "context": {"triggerKind": 1},
}


def message(method, params=None, msg_id=None):
    body = {"jsonrpc": "2.0", "method": method}
    body |= {"params": params} if params is not None else {}
    body |= {"id": msg_id} if msg_id is not None else {}
    return framed(json.dumps(body).encode())


def framed(body):
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


INITIALIZE = message("initialize", {"processId": None, "rootUri": None, "capabilities": {}}, 0)
SHUTDOWN, EXIT = message("shutdown", None, 99), message("exit")


def parsed(output):
    """Return the messages of an output that has nothing else in it."""
    found = []
    while output:
        header, output = output.split(b"\r\n\r\n", 1)
        fields = dict(line.split(b": ", 1) for line in header.split(b"\r\n"))
        length = int(fields[b"Content-Length"])
        found.append(json.loads(output[:length]))
        output = output[length:]
    return found


def started(engine=None):
    return subprocess.Popen(
        [*SCRIPTED, json.dumps(engine or {})],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def talk(*messages, engine=None):
    """Send it all and close the pipe; return the answers, the exit code and the log."""
    with started(engine) as process:
        out, err = process.communicate(b"".join(messages), timeout=PATIENCE)
    return parsed(out), process.returncode, err.decode()


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ((INITIALIZE, SHUTDOWN, EXIT), 0),
        ((INITIALIZE, EXIT), 1),
        ((EXIT,), 1),
        ((INITIALIZE, SHUTDOWN), 0),  # the client died before `exit`
        ((INITIALIZE,), 1),
        ((), 1),
        ((INITIALIZE, b"Content-Length: 500\r\n\r\n{"), 1),  # it died in the middle of a message
        ((b"no protocol at all" * 10_000,), 1),
    ],
)
def test_the_process_ends_with_the_right_exit_code(messages, code):
    assert talk(*messages)[1] == code


def test_exit_ends_it_while_the_client_keeps_the_pipe_open():
    with started({"steps": 1000, "step_seconds": 60.0}) as process:
        opened = message("initialized", {}) + message("textDocument/didOpen", {"textDocument": DOCUMENT})
        asked = message("textDocument/inlineCompletion", ASKED, 1)
        process.stdin.write(INITIALIZE + opened + asked + SHUTDOWN + EXIT)
        process.stdin.flush()
        assert process.wait(PATIENCE) == 0


def test_a_client_that_is_gone_ends_it_while_the_engine_works():
    opened = message("initialized", {}) + message("textDocument/didOpen", {"textDocument": DOCUMENT})
    asked = message("textDocument/inlineCompletion", ASKED, 1)
    assert talk(INITIALIZE, opened, asked, engine={"steps": 1000, "step_seconds": 60.0})[1] == 1


def test_standard_output_carries_messages_and_nothing_else():
    opened = message("initialized", {}) + message("textDocument/didOpen", {"textDocument": DOCUMENT})
    with started({"kind": "noisy", "script": ["x"]}) as process:
        process.stdin.write(INITIALIZE + opened + message("textDocument/inlineCompletion", ASKED, 1))
        process.stdin.flush()
        out = b""
        while b'"insertText"' not in out:
            out += process.stdout.read1(4096)
        rest, err = process.communicate(SHUTDOWN + EXIT, timeout=PATIENCE)
    answers = {m["id"]: m for m in parsed(out + rest) if "id" in m}
    assert answers[1]["result"][0]["insertText"] == "x"
    assert "noise from a library" in err.decode()


def test_a_message_that_is_not_json_is_answered_and_the_next_one_is_served():
    answers, code, _ = talk(INITIALIZE, framed(b"{nonsense"), framed(b"\xff\xfe"), SHUTDOWN, EXIT)
    assert [m["error"]["code"] for m in answers if "error" in m] == [-32700, -32700]
    assert all(m.get("id") is None for m in answers if "error" in m)
    assert code == 0


def test_a_quiet_conversation_logs_nothing():
    assert talk(INITIALIZE, message("initialized", {}), SHUTDOWN, EXIT)[2] == ""
