"""A model hub on this machine, for tests: it speaks as much HTTP as the hub's own library asks for, and fails on demand."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """One repository with its files, and the ways in which the hub is to fail.

    cut: after so many bytes the connection ends, once an element. stall: after so many bytes nothing more comes, for as long
    as this is not 0. stated: another SHA-256 than the true one. status: the answer to everything. expired: the requests
    for a file's bytes, from 0 on, that come too late. token: what a request has to bring. ranges: whether a beginning is
    skipped on request.
    """

    repository: str = "some/model"
    revision: str = REVISION
    files: dict[str, bytes] = field(default_factory=dict)
    in_storage: set[str] = field(default_factory=set)
    licence: str | None = "mit"
    cut: list[int] = field(default_factory=list)
    stated: dict[str, str] = field(default_factory=dict)
    status: int = 200
    token: str | None = None
    ranges: bool = True
    stall: int = 0
    expired: set[int] = field(default_factory=set)
    agents: set[str | None] = field(default_factory=set)
    asked: list[tuple[str, str, str | None, bool]] = field(default_factory=list)  # method, path, range, with a token?
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sha256(self, name: str) -> str:
        return self.stated.get(name) or hashlib.sha256(self.files[name]).hexdigest()

    def info(self) -> dict[str, object]:
        siblings = []
        for name, data in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            each: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": blob}
            if name in self.in_storage:
                each["lfs"] = {"sha256": self.sha256(name), "size": len(data), "pointerSize": 134}
            siblings.append(each)
        card = {"license": self.licence} if self.licence else {}
        return {
            "_id": "1",
            "id": self.repository,
            "modelId": self.repository,
            "sha": self.revision,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "cardData": card,
            "siblings": siblings,
        }

    def sent(self) -> list[str]:
        """Return the ranges of all requests for the bytes of a file; "all" for a whole one."""
        return [
            part or "all" for method, path, part, _ in self.asked if method == "GET" and path.startswith("/storage/")
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        hub, path = self.server.hub, unquote(urlsplit(self.path).path)
        token = self.headers.get("authorization")
        hub.asked.append((self.command, path, self.headers.get("range"), token is not None))
        hub.agents.add(self.headers.get("user-agent"))
        if path.startswith("/storage/") and len(hub.sent()) - 1 in hub.expired:
            return self._send(403, {}, b"expired", body=body)
        if hub.status != 200:
            return self._send(hub.status, {"X-Error-Message": "no"}, b"no", body=body)
        if not path.startswith("/storage/") and hub.token and token != f"Bearer {hub.token}":
            return self._send(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}, b"gated", body=body)
        if path in (f"/api/models/{hub.repository}", f"/api/models/{hub.repository}/revision/{hub.revision}"):
            return self._send(200, {"Content-Type": "application/json"}, json.dumps(hub.info()).encode(), body=body)
        start = f"/{hub.repository}/resolve/{hub.revision}/"
        if path.startswith(start) and (name := path.removeprefix(start)) in hub.files:
            data = hub.files[name]
            headers = {"X-Repo-Commit": hub.revision, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            if name in hub.in_storage:
                headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{hub.sha256(name)}"'}
            # Another name of the same machine, as the hub sends large files from elsewhere.
            headers["Location"] = f"http://localhost:{hub.port}/storage/{name}"
            return self._send(302, headers, b"", body=body) if name in hub.in_storage else self._file(data, headers)
        if path.startswith("/storage/") and (name := path.removeprefix("/storage/")) in hub.files:
            return self._file(hub.files[name], {"ETag": '"x"'})
        return self._send(404, {"X-Error-Code": "EntryNotFound"}, b"", body=body)

    def _file(self, data: bytes, headers: dict[str, str]) -> None:
        hub = self.server.hub
        headers.pop("Location", None)
        wanted = self.headers.get("range")
        if wanted and hub.ranges:
            begin = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            return self._send(206, headers, data[begin:], body=self.command == "GET")
        return self._send(200, headers, data, body=self.command == "GET")

    def _send(self, status: int, headers: dict[str, str], data: bytes, *, body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            hub = self.server.hub
            if hub.stall and self.path.startswith("/storage/"):
                self.wfile.write(data[: hub.stall])
                while hub.stall:
                    time.sleep(0.05)
                self.close_connection = True
            elif hub.cut and status in (200, 206) and self.path.startswith("/storage/"):
                self.wfile.write(data[: hub.cut.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: FakeHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve the hub on a free port while the block runs."""
    server = _Server(hub)
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
