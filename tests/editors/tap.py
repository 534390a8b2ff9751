"""Stands between an editor and its server, and writes every message down; changes none.

`python tap.py LOG COMMAND...` is the process in the middle. `Tap` reads the log in the test. A line of it is
`{"at": seconds of the monotonic clock, "who": "client" | "server" | "process", "message": ...}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO


@dataclass(frozen=True)
class Message:
    """at: seconds of the monotonic clock. who sent it. body: as in JSON-RPC; of a process `{"pid": n}`, or `{"code": n, "of":
    pid}`."""

    at: float
    who: str
    body: dict[str, Any]

    @property
    def method(self) -> str:
        """Of a request or a notification; empty for an answer."""
        return str(self.body.get("method", ""))

    @property
    def params(self) -> Any:
        """Of a request or a notification."""
        return self.body.get("params")


class Tap:
    """The messages that went over the wire, from `mark` on."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._from = 0

    def mark(self) -> None:
        """Forget what was so far."""
        # A line that is being written is still to come; from its middle on, it could not be read.
        self._from = self.log.read_bytes().rfind(b"\n") + 1 if self.log.exists() else 0

    def messages(self, method: str | None = None, who: str | None = None) -> list[Message]:
        """Since the mark, in order; of one method, of one side."""
        found = [message for message in _read(self.log, self._from) if message.who != "process"]
        return [m for m in found if method in (None, m.method) and who in (None, m.who)]

    def answer(self, request: Message) -> Message | None:
        """The answer to it, if it is there."""
        other = "server" if request.who == "client" else "client"
        for message in self.messages(who=other):
            if not message.method and message.body.get("id") == request.body["id"] and message.at >= request.at:
                return message
        return None

    def unanswered(self, method: str) -> list[Message]:
        """Requests of the editor that have no answer yet."""
        return [each for each in self.messages(method, "client") if self.answer(each) is None]

    def pid(self) -> int | None:
        """The newest process of the server that is running. Looks at the whole log."""
        running = list[int]()
        for message in _read(self.log, 0):
            if message.who == "process" and "pid" in message.body:
                running.append(message.body["pid"])
            elif message.who == "process":  # of a restart it may be said after the new one has begun
                running.remove(message.body["of"])
        return running[-1] if running else None

    def starts(self) -> int:
        """Return the number of servers that were started since the mark."""
        return sum(each.who == "process" and "pid" in each.body for each in _read(self.log, self._from))


def _read(log: Path, start: int) -> list[Message]:
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().split(b"\n")[:-1]  # the last one may not be complete
    return [Message(entry["at"], entry["who"], entry["message"]) for entry in map(json.loads, lines)]


def main() -> int:
    """Pass everything on until the server ends; end as it did."""
    path, lock = Path(sys.argv[1]), threading.Lock()

    def note(who: str, message: Any) -> None:
        line = json.dumps({"at": time.monotonic(), "who": who, "message": message}) + "\n"
        with lock, path.open("ab", buffering=0) as log:
            log.write(line.encode())

    server = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin
    assert server.stdout
    note("process", {"pid": server.pid})
    close = server.stdin.close
    threading.Thread(target=_pass_on, args=(sys.stdin.buffer, server.stdin, "client", note, close), daemon=True).start()
    _pass_on(server.stdout, sys.stdout.buffer, "server", note, lambda: None)
    code = server.wait()
    note("process", {"code": code, "of": server.pid})
    os._exit(code if code >= 0 else 128 - code)  # a thread may be reading still


def _pass_on(
    source: BinaryIO, to: BinaryIO, who: str, note: Callable[[str, Any], None], end: Callable[[], None]
) -> None:
    try:
        while header := source.readline():
            head, length = header, 0
            while header.strip():
                name, _, value = header.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                header = source.readline()
                head += header
            body = source.read(length)
            note(who, json.loads(body))
            to.write(head + body)
            to.flush()
    except (OSError, ValueError):
        pass  # one side has gone; what the other does about it is on trial
    finally:
        with contextlib.suppress(OSError):
            end()


if __name__ == "__main__":
    sys.exit(main())
