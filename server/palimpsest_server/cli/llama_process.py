"""Run the server of llama.cpp out of the package xllamacpp, until standard input ends. A program of its own.

`python -m palimpsest_server.cli.llama_process FILE PORT CONTEXT`: a crash in native code, or an interrupt, ends no command.
"""

from __future__ import annotations

import signal
import sys


def run(path: str, port: int, context: int) -> None:
    """Serve a GGUF file on the loopback address, to programs alone: no page of a browser may ask it."""
    import xllamacpp

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process by closing its standard input
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.hostnames = ["127.0.0.1"]
    params.port, params.n_ctx, params.n_parallel = port, context, 1
    params.ui = False
    params.cors_origins = ""
    server = xllamacpp.Server(params)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
