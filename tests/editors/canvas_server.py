"""A server for the canvas page with no model behind it: a test plays its events, and reads what the page asked for."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from editors.canvas_recording import OLD, PREFIX, SUFFIX
from palimpsest_canvas.door import CONTENT_POLICY
from palimpsest_canvas.page import STATIC

TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
Event = tuple[str, Any]


class CanvasServer:
    """The routes of the canvas. posts: what the page sent, as (path, body). answers: by path, a status and a body."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {
            "model": "palimpsest-small",
            "device": "cpu",
            "state": "ready",
            "reason": "",
            "denoises": True,
            "writes": True,
            "models": ["palimpsest-small", "other-model"],
            "editor": True,
            "document": {
                "uri": "file:///inventory.py",
                "name": "inventory.py",
                "language": "python",
                "version": 1,
                "text": PREFIX + OLD + SUFFIX,
                "start": len(PREFIX),
                "end": len(PREFIX + OLD),
            },
            "runs": [],
        }
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.listening: list[str] = []  # the streams that pages read now, by path
        self._streams: dict[str, list[Event]] = {"/api/events": []}
        self._changed = threading.Condition()
        self._dead = False
        self._sockets: set[socket.socket] = set()

    def begin(self, source: str = "page", **changes: Any) -> str:
        """Return the name of a new run, of which all pages hear."""
        number = f"run{len(self.state['runs']) + 1}"
        run = {"id": number, "name": "inventory.py", "source": source, "running": True, **changes}
        self.state["runs"].append(run)
        self._streams[f"/api/runs/{number}/events"] = []
        self.tell("/api/events", "run", run)
        return number

    def tell(self, path: str, name: str, data: Any) -> None:
        """Send an event to all who listen, and to those who will."""
        with self._changed:
            self._streams[path].append((name, data))
            for run in self.state["runs"]:
                run["running"] &= (path, name) != (f"/api/runs/{run['id']}/events", "end")
            self._changed.notify_all()

    def play(self, run: str, recording: dict[str, Any], frames: int | None = None) -> None:
        """Send the events of a recording; frames: only so many, and no end."""
        path = f"/api/runs/{run}/events"
        parts = ("frames", "outcome", "beside")
        self.tell(path, "begun", {key: value for key, value in recording.items() if key not in parts})
        for frame in recording["frames"][:frames]:
            self.tell(path, "frame", frame)
        if frames is None:
            self.tell(path, "done", recording["outcome"])
            if beside := recording["beside"]:
                self.tell(path, "beside-begun", {"model": beside["model"]})
                for frame in beside["frames"]:
                    self.tell(path, "beside-frame", frame)
                self.tell(path, "beside-done", beside["outcome"])
            self.tell(path, "end", {})

    def stream(self, path: str) -> Iterator[Event | None]:
        """Yield all events, and None from time to time; end with the server, or after "end"."""
        at = 0
        while True:
            with self._changed:
                if at == len(self._streams[path]) and not self._dead:
                    self._changed.wait(0.2)
                if self._dead:
                    return
                events = self._streams[path][at:]
            at += len(events)
            if not events:
                yield None
            for event in events:
                yield event
                if event[0] == "end":
                    return

    def left(self, path: str, seconds: float = 15.0) -> bool:
        """Wait until no page reads a stream; return whether that came to be."""
        with self._changed:
            return self._changed.wait_for(lambda: path not in self.listening, seconds)

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Yield the address."""
        handler = type("Handler", (_Handler,), {"canvas": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{self._server.server_port}"
        finally:
            self.die()
            thread.join()

    def die(self) -> None:
        """End at once, as a process that is killed does."""
        if self._dead:
            return
        with self._changed:
            self._dead = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the answer to what a page asks for."""
        self.posts.append((path, body))
        if path in self.answers:
            return self.answers[path]
        return (200, {"run": self.begin()}) if path == "/api/fill" else (200, {"applied": True})


class _Handler(BaseHTTPRequestHandler):
    canvas: CanvasServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.canvas._sockets.add(self.connection)

    def finish(self) -> None:
        self.canvas._sockets.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        name = {"/": "index.html"}.get(self.path, self.path.removeprefix("/static/"))
        if self.path in self.canvas._streams:
            self._stream()
        elif self.path == "/api/state":
            self._answer(200, json.dumps(self.canvas.state).encode(), "application/json")
        elif (STATIC / name).is_file():
            self._answer(200, (STATIC / name).read_bytes(), TYPES[name.rpartition(".")[2]])
        else:
            self._answer(404, b'{"error": "There is nothing here."}', "application/json")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.canvas.post(self.path, body)
        self._answer(status, json.dumps(answer).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", CONTENT_POLICY)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        self._listening(self.canvas.listening.append)
        try:
            for event in self.canvas.stream(self.path):
                said = f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n" if event else ": here\n\n"
                self.wfile.write(said.encode())
                self.wfile.flush()
        except OSError:
            pass  # the page is gone
        finally:
            self._listening(self.canvas.listening.remove)

    def _listening(self, change: Callable[[str], None]) -> None:
        with self.canvas._changed:
            change(self.path)
            self.canvas._changed.notify_all()
