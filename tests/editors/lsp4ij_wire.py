"""A language client's end of the pipe, as LSP4J has it: ids are strings, an answer after a cancel is thrown away."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any


class ResponseError(Exception):
    """The error that the server answered instead of a result."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Wire:
    """A server's process. on_message: its requests (they have an `id`; what is returned is the answer) and notifications.

    on_end: called when its output ends, however that comes about. All callbacks are made on the thread that reads.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        on_message: Callable[[dict[str, Any]], Any],
        on_end: Callable[[Wire], None],
    ) -> None:
        self._on_message, self._on_end = on_message, on_end
        self._ids = itertools.count(1)
        self._open: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()
        self._errors = (folder / "server.err").open("ab")
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """The process is there."""
        return self.process.poll() is None

    def notify(self, method: str, params: Any) -> None:
        """Send a notification; to a server that has gone it is lost."""
        self._send({"method": method, "params": params})

    def request(self, method: str, params: Any = None) -> Future[Any]:
        """Send a request. Cancelling the future sends `$/cancelRequest`."""
        identifier, future = str(next(self._ids)), Future[Any]()
        with self._lock:
            self._open[identifier] = future

        def when_done(done: Future[Any]) -> None:
            with self._lock:
                self._open.pop(identifier, None)
            if done.cancelled():
                self.notify("$/cancelRequest", {"id": identifier})

        future.add_done_callback(when_done)
        self._send({"id": identifier, "method": method, "params": params})
        return future

    def close(self) -> None:
        """Shut the server down as a client does, and see it off; kill it after five seconds."""
        if self.alive:
            with contextlib.suppress(Exception):
                self.request("shutdown").result(5)
            self.notify("exit", None)
            self._hang_up()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)

    def _hang_up(self) -> None:
        assert self.process.stdin
        with self._lock, contextlib.suppress(OSError):
            self.process.stdin.close()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode()
        with self._lock, contextlib.suppress(OSError, ValueError):
            assert self.process.stdin
            self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as source:
            while header := source.readline():
                length = 0
                while header.strip():
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                    header = source.readline()
                if body := source.read(length):
                    self._take(json.loads(body))
        self.process.wait()
        self._hang_up()
        self._errors.close()
        with self._lock:
            waiting = list(self._open.values())
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(EOFError("the server has gone"))
        self._on_end(self)

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            try:
                answer = {"result": self._on_message(message)}
            except ResponseError as error:
                answer = {"error": {"code": error.code, "message": str(error)}}
            if "id" in message:
                self._send({"id": message["id"], **answer})
            return
        with self._lock:
            future = self._open.get(message.get("id", ""))
        if future is None or not future.set_running_or_notify_cancel():
            return
        if error := message.get("error"):
            future.set_exception(ResponseError(error["code"], error["message"]))
        else:
            future.set_result(message.get("result"))
