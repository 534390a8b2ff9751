"""Times the start of `palimpsest serve` until it answers `initialize`, against a bare pygls server; knows no model."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import suppress
from time import perf_counter

_OURS = (sys.executable, "-m", "palimpsest_server", "serve")
_BARE = (sys.executable, "-c", "from pygls.lsp.server import LanguageServer; LanguageServer('bare', '1').start_io()")


def start_ratio(runs: int = 10) -> dict[str, float]:
    """Return the medians of both, in milliseconds from the start of the process to the answer, and their ratio.

    They take turns, so that other work on the machine slows both down. The first turn, which reads the files from the
    disk, does not count. Raises RuntimeError if one of them does not answer.
    """
    turns = [(_answered(_OURS), _answered(_BARE)) for _ in range(runs + 1)][1:]
    ours, bare = (statistics.median(times) * 1000 for times in zip(*turns, strict=True))
    return {"initialize_ms": ours, "pygls_ms": bare, "ratio": ours / bare}


def _answered(command: tuple[str, ...]) -> float:
    """Start a process, end it after its answer, and return the seconds until then."""
    params = {"processId": None, "rootUri": None, "capabilities": dict[str, str]()}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()
    begun = perf_counter()
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=nowhere) as process:
        assert process.stdin is not None, "a pipe was asked for"
        assert process.stdout is not None, "a pipe was asked for"
        with suppress(BrokenPipeError):
            process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        header = process.stdout.readline()
        took = perf_counter() - begun
        process.kill()
    if not header.lower().startswith(b"content-length:"):
        raise RuntimeError(f"{' '.join(command)} did not answer `initialize`")
    return took
