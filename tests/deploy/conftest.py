"""A server for the health check of the images, and programs that are there or not."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

Server = Callable[[int], AbstractContextManager[tuple[int, list[str]]]]


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Return what finds a program of the system, and skips the test where there is none."""

    def found(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed here")
        return path

    return found


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
