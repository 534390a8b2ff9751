"""Send bytes to a real server process as they are, and keep every message that comes back."""

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SCRIPTED = [sys.executable, str(Path(__file__).with_name("scripted_server.py"))]
PATIENCE = 60
URI = "file:///project/a.py"
ABLE = {
    "textDocument": {"codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": [""]}}}},
    "window": {"workDoneProgress": True},
    "workspace": {
        "applyEdit": True,
        "configuration": True,
        "didChangeConfiguration": {"dynamicRegistration": True},
        "workspaceEdit": {"documentChanges": True},
    },
}


def framed(body):
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def message(method, params=None, msg_id=None):
    body = {"jsonrpc": "2.0", "method": method, "params": params}
    return framed(json.dumps(body | ({"id": msg_id} if msg_id is not None else {}), ensure_ascii=False).encode())


def place(line, character):
    return {"line": line, "character": character}


class Raw:
    """A client. answers: the answers to the server's requests, by method; the others are never answered."""

    def __init__(self, process, answers):
        self.process = process
        self.answers = answers
        self.received = []
        self._answered = {}
        self._said = set()
        self._news = threading.Condition()
        self._last = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def tell(self, method, params=None):
        self.send(message(method, params))

    def asked(self, method, params=None):
        """Send a request, do not wait, and return its id."""
        self._last += 1
        self.send(message(method, params, self._last))
        return self._last

    def ask(self, method, params=None):
        return self.answer(self.asked(method, params))

    def answer(self, msg_id):
        """Return the one answer to a request: the whole message."""
        self.until(lambda: msg_id in self._answered)
        (answer,) = self._answered[msg_id]
        return answer

    def until(self, condition, seconds=PATIENCE):
        with self._news:
            assert self._news.wait_for(condition, seconds), "the server did not say it"

    def count(self, msg_id):
        return len(self._answered.get(msg_id, ()))

    def said(self, method):
        return [each["params"] for each in self.received if each.get("method") == method]

    def initialize(self, able=ABLE, **params):
        given = {"processId": None, "rootUri": None, "capabilities": able} | params
        answer = self.ask("initialize", given)
        self.tell("initialized", {})
        return answer["result"]

    def open(self, text="", uri=URI, version=1):
        item = {"uri": uri, "languageId": "python", "version": version, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": item})

    def change(self, *changes, uri=URI, version=2):
        self.tell(
            "textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": changes}
        )

    def type(self, line, character, text, uri=URI, version=2):
        where = {"start": place(line, character), "end": place(line, character)}
        self.change({"range": where, "text": text}, uri=uri, version=version)

    def at(self, line=0, character=0, uri=URI, kind=1):
        """Return the params of a request for ghost text. kind: 1 invoked, 2 automatic."""
        return {"textDocument": {"uri": uri}, "position": place(line, character), "context": {"triggerKind": kind}}

    def inline(self, *where, **more):
        return self.ask("textDocument/inlineCompletion", self.at(*where, **more))

    def offered(self, *where, **more):
        """Return the text that is suggested, or the reason why none is."""
        result = self.inline(*where, **more)["result"]
        return result[0]["insertText"] if result else self.status()["lastEmpty"]["reason"]

    def status(self):
        return self.ask("palimpsest/status")["result"]

    def end(self):
        """Shut down in the order of the protocol, and return the exit code."""
        assert self.ask("shutdown")["result"] is None
        self.tell("exit")
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def _read(self):
        out = self.process.stdout
        while header := out.readline():
            fields = [header]
            while (line := out.readline()) not in (b"\r\n", b""):
                fields.append(line)
            length = next(int(each.split(b":")[1]) for each in fields if each.startswith(b"Content-Length:"))
            self._take(json.loads(out.read(length)))

    def _take(self, received):
        with self._news:
            self.received.append(received)
            if "method" not in received and isinstance(received.get("id"), str | int | float):
                self._answered.setdefault(received["id"], []).append(received)
            self._news.notify_all()
        if "method" in received and "id" in received and received["method"] in self.answers:
            result = self.answers[received["method"]]
            result = result(received["params"]) if callable(result) else result
            self.send(framed(json.dumps({"jsonrpc": "2.0", "id": received["id"], "result": result}).encode()))


@contextmanager
def raw(engine=None, answers=None, command=None, **popen):
    """Start a server on the scripted engine, set up by `engine`, and a client to it; kill it if it does not end."""
    pipe = subprocess.PIPE
    streams = {"stdin": pipe, "stdout": pipe, "stderr": subprocess.DEVNULL} | popen
    with subprocess.Popen(command or [*SCRIPTED, json.dumps(engine or {})], **streams) as process:
        try:
            yield Raw(process, answers or {})
        finally:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    stream.close()


def gone(pid, seconds=PATIENCE):
    """Return whether the process ends within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:  # perhaps only between two looks at it
            return True
        time.sleep(0.05)
    return False
