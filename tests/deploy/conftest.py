"""A server for the health check of the images."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

Server = Callable[[int], AbstractContextManager[tuple[int, list[str]]]]


@pytest.fixture
def free_server() -> Server:
    """Return what starts a server that answers every path with one status; yield its port and the paths."""

    @contextmanager
    def started(status: int) -> Iterator[tuple[int, list[str]]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield server.server_address[1], asked
            finally:
                server.shutdown()
                thread.join()

    return started
