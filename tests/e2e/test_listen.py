"""The Unix socket takes one client, and goes on listening after whatever is no client."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from e2e.raw import PATIENCE, SCRIPTED, framed, message

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Unix sockets")
COMMAND = [sys.executable, "-m", "palimpsest_server", "serve", "--listen"]
INITIALIZE = message("initialize", {"processId": None, "rootUri": None, "capabilities": {}}, 0)
ENDING = message("shutdown", None, 99) + message("exit")
HTTP_BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "processId": None,
            "rootUri": None,
            "capabilities": {},
            "initializationOptions": {"palimpsest": {"endpoint": "http://evil.example"}},
        },
    }
).encode()
NO_CLIENTS = {
    "nothing": b"",
    "half a header": b"Content-Le",
    "half a message": b"Content-Length: 100\r\n\r\n{",
    "no JSON": framed(b"{"),
    "a request before initialize": message("palimpsest/status", None, 1),
    "initialize that cannot be read": message("initialize", {"capabilities": 5}, 1),
    "initialize as a notification": message("initialize", {"processId": None, "rootUri": None, "capabilities": {}}),
    "exit": message("exit"),
    "bytes": bytes(range(256)) * 20,
    "a line without an end": b"x" * 200_000,
}


@contextmanager
def listening(path):
    """Start a server on a socket, and wait until it listens; kill it if it does not end."""
    with subprocess.Popen(
        [*SCRIPTED, json.dumps({"script": ["x"], "listen": str(path)})], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stderr.readline() == f"palimpsest: listening on {path}\n".encode()
            yield process
        finally:
            process.kill()


@contextmanager
def connected(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        yield client


def everything(client):
    """Return everything that comes until the other side hangs up."""
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:  # with some of what we sent unread
        pass
    return received


def serves(path, process):
    """Be the client, end the server, and return its exit code."""
    with connected(path) as client:
        client.sendall(INITIALIZE)
        assert b"serverInfo" in client.recv(65536)
        with connected(path) as second:
            second.sendall(INITIALIZE)
            assert everything(second) == b""
        client.sendall(ENDING)
        assert b'"id": 99' in everything(client)
    return process.wait(PATIENCE)


def test_one_client_is_served_and_no_other(tmp_path):
    path = tmp_path / "new" / "socket"
    with listening(path) as process:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert psutil.Process(process.pid).net_connections(kind="inet") == []
        assert serves(path, process) == 0
    assert not path.exists()


@pytest.mark.parametrize("what", NO_CLIENTS)
def test_the_server_goes_on_listening_after_what_is_no_client(tmp_path, what):
    path = tmp_path / "socket"
    with listening(path) as process:
        for _ in range(3):
            with connected(path) as other:
                with suppress(BrokenPipeError):  # it need not read to the end
                    other.sendall(NO_CLIENTS[what])
                other.shutdown(socket.SHUT_WR)
                everything(other)
        assert serves(path, process) == 0


@pytest.mark.parametrize(
    "line", ["POST / HTTP/1.1", "GET /x HTTP/1.0", "OPTIONS * HTTP/1.1", "POST http://a/ HTTP/1.1"]
)
def test_an_http_request_is_refused_and_closed(tmp_path, line):
    path = tmp_path / "socket"
    with listening(path) as process:
        with connected(path) as browser:
            head = f"{line}\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {len(HTTP_BODY)}\r\n\r\n"
            browser.sendall(head.encode() + HTTP_BODY)
            assert everything(browser).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert serves(path, process) == 0


def test_a_client_that_says_nothing_holds_nobody_up(tmp_path):
    path = tmp_path / "socket"
    with listening(path) as process, connected(path), connected(path) as half:
        half.sendall(b"Content-Length: 1000\r\n\r\n{")
        assert serves(path, process) == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_cannot_connect():
    code = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "except PermissionError: print('refused')\n"
    )
    with tempfile.TemporaryDirectory() as folder, listening(path := Path(folder) / "socket") as process:
        os.chmod(folder, 0o755)
        tried = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        assert tried.stdout == "refused\n"
        assert serves(path, process) == 0


def refused(path):
    result = subprocess.run([*COMMAND, path], capture_output=True, text=True, timeout=PATIENCE)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_place_for_a_socket_is_refused_with_a_sentence(tmp_path):
    assert "cannot be a socket" in refused(tmp_path / "no" / "such" / "folder")
    (tmp_path / "file").write_text("mine")
    assert "cannot be a socket" in refused(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert "cannot be a socket" in refused(tmp_path / ("x" * 200))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert "can be written by others" in refused(tmp_path / "open" / "socket")
    with listening(tmp_path / "socket") as process:
        assert "cannot be a socket" in refused(tmp_path / "socket")
        assert serves(tmp_path / "socket", process) == 0


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / "socket"))
    with listening(tmp_path / "socket") as process:
        assert serves(tmp_path / "socket", process) == 0
