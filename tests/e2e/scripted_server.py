"""The real server process on a scripted engine, set up by one argument of JSON."""

import hashlib
import json
import sys
from typing import Any

from palimpsest_engine import EngineSettings, Fill, FillRequest, Job, OutOfMemory, Verdict
from palimpsest_engine.scripted import ScriptedEngine
from palimpsest_server.app import serve


class EchoEngine(ScriptedEngine):
    """Answers with a digest of the text it was given, and the hole: what the server takes them for."""

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        hole = request.holes[0]
        self.script = [digest(request.text, hole.start, hole.end)]
        return super().submit(request, on_draft)


class NoisyEngine(ScriptedEngine):
    """Prints, as libraries do."""

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        print("Content-Length: 3\r\n\r\nnoise from a library", flush=True)
        return super().submit(request, on_draft)


class ChoicesEngine(ScriptedEngine):
    """Answers with the first text of the script; the others are the alternatives."""

    def submit(self, request: FillRequest, on_draft: Any = None) -> Job:
        job = Job(request)
        first, *others = [(text,) * len(request.holes) for text in self.script]
        job.future.set_result(Fill(first, Verdict("not checked", "scripted"), alternatives=tuple(others)))
        return job


def digest(text: str, start: int, end: int) -> str:
    """Short, and different for every text and hole."""
    return f"{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}:{start}:{end}"


KINDS = {"echo": EchoEngine, "noisy": NoisyEngine, "choices": ChoicesEngine}


def main() -> int:
    """Serve one client."""
    options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    port = options.pop("tcp_port", None)
    kind = KINDS.get(options.pop("kind", ""), ScriptedEngine)
    if message := options.pop("error", None):
        options["error"] = OutOfMemory(message)

    def engine(settings: EngineSettings) -> ScriptedEngine:
        return kind(**options)

    return serve(engine, tcp_port=port)


if __name__ == "__main__":
    sys.exit(main())
