"""`palimpsest models serve`: run llama.cpp for a GGUF file on this machine, until Ctrl-C, and say how to use it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from palimpsest_engine import Endpoint, EndpointError, UnsupportedCheckpoint
from palimpsest_server.cli.extras import how_to_install

PORT, CONTEXT = 8012, 4096
_LOADING_SECONDS = 600.0
_POLL_SECONDS = 0.1
_LAST_WORDS_SECONDS = 5.0  # a process that the program has started may keep its output open


@click.command("serve", short_help="Run llama.cpp for a model, on this machine.")
@click.argument("name", metavar="NAME|FILE.gguf")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 for a free one.")
@click.option(
    "--context",
    type=click.IntRange(min=512),
    default=CONTEXT,
    show_default=True,
    help="Tokens of a prompt and its middle.",
)
@click.option("--verbose", is_flag=True, help="Show what llama.cpp says.")
def command(name: str, port: int, context: int, verbose: bool) -> None:
    """Run llama.cpp for a GGUF model on 127.0.0.1 until Ctrl-C, and print the setting that uses it.

    It is `llama-server` if that is on the PATH, else the package xllamacpp.
    """
    path, port = gguf_of(name), free_port(port)
    url = f"http://127.0.0.1:{port}"
    with running(program(path, port, context), verbose) as (process, last_words):
        try:
            click.echo("\n".join(advice(reached(process, last_words, url), url)))
            process.wait()
        except KeyboardInterrupt:
            click.echo("ended", err=True)
            return
    raise EndpointError(f"llama.cpp ended by itself ({_ended(process, last_words)}).")


def advice(model: str, url: str) -> list[str]:
    """Return what a user has to know of a server that is ready."""
    return [
        f"{model} answers at {url}, on this machine only. Ctrl-C ends it.",
        "The setting, in the initializationOptions of your editor's set-up:",
        f"  {json.dumps({'palimpsest': {'endpoint': url}})}",
        f'In VS Code\'s user settings:  "palimpsest.endpoint": "{url}"',
        f"To try it:  palimpsest doctor --endpoint {url}",
    ]


def gguf_of(name: str) -> Path:
    """Return the GGUF file of a model's name, or of a path. Raises what `locate` raises, and UnsupportedCheckpoint."""
    from palimpsest_engine.checkpoint.locate import locate

    path = locate(name)
    files = sorted(path.glob("*.gguf")) if path.is_dir() else [path]
    if not files or files[0].suffix != ".gguf":
        raise UnsupportedCheckpoint(f"{name} is no GGUF file, and llama.cpp reads no other.")
    if len(files) > 1 and "-00001-of-" not in files[0].name:
        raise UnsupportedCheckpoint(f"{path} has several GGUF files: name one.")
    return files[0].resolve()


def program(path: Path, port: int, context: int) -> list[str]:
    """Return the command that serves a file. Raises EndpointError if there is no llama.cpp on this machine."""
    if found := shutil.which("llama-server"):
        where = ["--host", "127.0.0.1", "--port", str(port)]
        return [found, "--model", str(path), *where, "--ctx-size", str(context), "--parallel", "1"]
    if importlib.util.find_spec("xllamacpp") is None:
        raise EndpointError(
            f"There is no llama.cpp: put llama-server on the PATH, or run {how_to_install('xllamacpp')}."
        )
    return [sys.executable, "-m", "palimpsest_server.cli.llama_process", str(path), str(port), str(context)]


def free_port(port: int) -> int:
    """Return the port, or a free one for 0. Raises EndpointError if it is taken."""
    try:
        with socket.create_server(("127.0.0.1", port)) as taken:
            return int(taken.getsockname()[1])
    except OSError:
        raise EndpointError(f"The port {port} is taken: choose another with --port, or 0 for a free one.") from None


@contextmanager
def running(command: list[str], verbose: bool) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """Run a program; end it after the block in any case. Yields it, and what returns the last line of one that has ended."""
    last = deque[str](maxlen=1)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                last.append(line.strip())
                if verbose:
                    click.echo(line, nl=False, err=True)

    listener = threading.Thread(target=listen, name="palimpsest-llama", daemon=True)
    listener.start()

    def last_words() -> str:
        listener.join(_LAST_WORDS_SECONDS)  # it may not have read them when the program has ended
        return last[-1] if last else ""

    try:
        yield process, last_words
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join(1)


def reached(process: subprocess.Popen[str], last_words: Callable[[], str], url: str) -> str:
    """Wait until the server answers; return the model's name. Raises EndpointError if it ends or takes too long."""
    from palimpsest_engine.remote.address import address_of
    from palimpsest_engine.remote.probe import reach
    from palimpsest_engine.remote.transport import Limits, Transport

    endpoint = Endpoint(url, "llama.cpp")
    transport = Transport(address_of(endpoint), lambda: "", Limits())
    end = time.monotonic() + _LOADING_SECONDS
    while True:
        try:
            model = reach(transport, endpoint).model
            transport.close()
            return model
        except EndpointError as error:
            if process.poll() is not None:
                raise EndpointError(f"llama.cpp did not start ({_ended(process, last_words)}).") from None
            if time.monotonic() > end:
                raise EndpointError(f"llama.cpp did not start within {_LOADING_SECONDS:g} s: {error}") from None
        time.sleep(_POLL_SECONDS)


def _ended(process: subprocess.Popen[str], last_words: Callable[[], str]) -> str:
    """Return the exit code of an ended program and its last line, in words."""
    code = process.wait()
    words = "".join(each for each in last_words() if each.isprintable())[:200]
    return f"exit code {code}{f', after: {words}' if words else ''}"
