"""A real server process with an endpoint: the user's own key, drafts, status, a server that is down and comes back."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

COMMAND = [sys.executable, "-m", "palimpsest_server", "serve"]
TEXT = "def add(a, b):\n    return \n\n\nprint(add(1, 2))\n"


class Llama(http.server.BaseHTTPRequestHandler):
    """A llama.cpp that knows one middle."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        body = json.dumps({"default_generation_settings": {"n_ctx": 4096}, "model_alias": "tiny"}).encode()
        self._head("application/json", len(body))
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        pieces = [{"content": text, "stop": False} for text in ("a ", "+ b")]
        pieces.append({"content": "", "stop": True, "stop_type": "eos"})
        body = b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces)
        self._head("text/event-stream", len(body))
        self.wfile.write(body)

    def _head(self, kind: str, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def start(server: http.server.ThreadingHTTPServer) -> None:
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()


@pytest.fixture
def down() -> Iterator[http.server.ThreadingHTTPServer]:
    """Return a server that has its port, so that nobody else gets it, and does not listen."""
    Llama.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Llama, bind_and_activate=False) as server:
        server.server_bind()
        yield server


@pytest.fixture
def server(down: http.server.ThreadingHTTPServer) -> Iterator[http.server.ThreadingHTTPServer]:
    start(down)
    yield down
    down.shutdown()


async def test_a_completion_comes_from_the_endpoint_with_drafts_and_a_status(connect, server):
    url = f"http://127.0.0.1:{server.server_port}"
    editor = await connect(command=COMMAND, settings={"endpoint": url, "drafts": True, "speculate": False})
    editor.open(TEXT)
    assert await editor.ask(1, 11) == "a + b"
    status = await editor.status()
    assert (status.state in ("ready", "busy"), status.model) == (True, "tiny")
    assert status.device == f"127.0.0.1:{server.server_port} (llama.cpp)"
    assert any(draft.final for draft in editor.drafts)
    assert json.loads(Llama.asked[0])["input_suffix"] == TEXT.partition("return ")[2]


async def test_a_server_that_is_down_is_the_reason_and_the_next_request_tries_again(connect, down):
    port = down.server_port
    editor = await connect(command=COMMAND, settings={"endpoint": f"http://127.0.0.1:{port}"})
    editor.open(TEXT)
    assert await editor.ask(1, 11) is None
    assert await editor.reason() == f"Nothing answers at 127.0.0.1:{port}: is the server running?"
    assert (await editor.status()).state == "error"
    start(down)
    try:
        assert await editor.ask(1, 11) == "a + b"
        assert (await editor.status()).state in ("ready", "busy")
    finally:
        down.shutdown()


async def test_the_status_names_a_host_that_is_not_this_machine(connect, server):
    # 0.0.0.0 reaches this machine, and yet it is no loopback address.
    editor = await connect(command=COMMAND, settings={"endpoint": f"http://0.0.0.0:{server.server_port}"})
    editor.open(TEXT)
    assert await editor.ask(1, 11) == "a + b"
    assert (await editor.status()).reason == "Code is sent to 0.0.0.0, unencrypted."
