"""`palimpsest api`: a real process, and what stops it from starting, each in one sentence."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner

from api.certificates import Issued, issue
from api.conftest import Recording, infill, serving
from palimpsest_api import cli
from palimpsest_api.certificate import context_of
from palimpsest_api.secret import VARIABLE, secret_of
from palimpsest_api.serving import listener
from palimpsest_engine import Endpoint, EngineSettings, EngineStatus, PalimpsestError
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli import extras

SECRET = "a-token-of-twenty-signs"
RUN = """
import sys
from palimpsest_api.cli import command
from palimpsest_engine.runtime.scripted import ScriptedEngine
command.main(sys.argv[1:], obj=lambda settings: ScriptedEngine(["x"], steps=1000, step_seconds=0.02))
"""
REALLY = """
import sys
from palimpsest_api.cli import command
from palimpsest_engine import open_engine
command.main(sys.argv[1:], obj=open_engine)
"""


@contextmanager
def started(*arguments: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process over an engine that takes twenty seconds, and where it listens."""
    command = [sys.executable, "-c", RUN, "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "listening at" in line, line + process.stderr.read()
        yield process, line.split(" at ")[1].split(",")[0]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stream_with_an_error_and_the_process_with_zero(number: int) -> None:
    with started() as (process, url):
        body = {"text": "", "holes": [{"start": 0, "end": 0}]}
        headers = {"Accept": "text/event-stream"}
        with httpx.stream("POST", f"{url}/v1/fill", json=body, headers=headers, timeout=30, trust_env=False) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: draft"
            process.send_signal(number)
            rest = list(lines)
        assert "event: error" in rest
        assert "shutting down" in rest[rest.index("event: error") + 1]
        assert process.wait(60) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert said.endswith("palimpsest: ended\n")
        assert "Traceback" not in said


def test_a_model_that_cannot_be_loaded_ends_it_with_a_sentence_and_the_models_exit_code() -> None:
    run = [sys.executable, "-c", REALLY, "--port", "0", "--model", "no-such-model"]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=110)
    assert ended.returncode == 20
    assert "no-such-model" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_endpoint_that_does_not_answer_yet_is_one_sentence_and_it_goes_on() -> None:
    terminal = cli._Terminal([], Endpoint("http://localhost:1"))
    assert terminal.loaded(EngineStatus("error", "Nothing answers.", exit_code=24))
    assert terminal.exit_code == 0
    other = cli._Terminal([], None)
    assert not other.loaded(EngineStatus("error", "There is no such model.", exit_code=20))
    assert other.exit_code == 20


def test_it_says_where_it_is_and_who_can_reach_it() -> None:
    lines = "\n".join(cli.advice("http://127.0.0.1:8012", True, False, None))
    assert "http://127.0.0.1:8012, on this machine only" in lines
    assert "http://127.0.0.1:8012/infill" in lines
    assert "Other users of this machine" in lines
    assert "unencrypted" in "\n".join(cli.advice("http://10.0.0.1:8012", False, False, SECRET))
    assert "unencrypted" not in "\n".join(cli.advice("https://10.0.0.1:8012", False, True, SECRET))


class Opened:
    """Runs the command in this process up to where it would serve; `settings` is what the engine was opened with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings: list[EngineSettings] = []
        self.served: list[Any] = []
        monkeypatch.setattr("palimpsest_api.serving.serve", lambda *arguments: self.served.append(arguments))

    def __call__(self, *arguments: object) -> BaseException | None:
        def open_engine(settings: EngineSettings) -> ScriptedEngine:
            self.settings.append(settings)
            return ScriptedEngine()

        words = ["--port", "0", *map(str, arguments)]
        try:
            CliRunner().invoke(cli.command, words, obj=open_engine, catch_exceptions=False, standalone_mode=False)
        except Exception as error:
            return error
        return None


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.delenv(VARIABLE, raising=False)
    return Opened(monkeypatch)


def test_the_options_of_an_engine_are_those_of_the_other_commands(run: Opened) -> None:
    words = [
        "--model",
        "m",
        "--device",
        "cpu",
        "--adapter",
        "a",
        "--profile",
        "fast",
        "--quantization",
        "int8",
        "--fallback",
    ]
    assert run(*words, "--endpoint", "http://localhost:1") is None
    endpoint = Endpoint("http://localhost:1")
    expected = EngineSettings(
        "m", "cpu", adapter="a", profile="fast", quantization="int8", fallback=True, endpoint=endpoint, shared=True
    )
    assert run.settings == [expected]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_another_address_needs_a_token(run: Opened, host: str) -> None:
    error = run("--host", host)
    assert isinstance(error, click.UsageError)
    assert "needs a token" in str(error)
    assert run.settings == []


@pytest.mark.parametrize("token", ["", "short", "has blanks in its many letters", "has-Umläute-in-its-many-letters"])
def test_a_token_that_is_none_is_refused_without_being_shown(
    run: Opened, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, token)
    file = tmp_path / "token"
    file.write_text(token, "utf-8")
    file.chmod(0o600)
    for error in (run(), run("--token-file", file)):
        assert isinstance(error, PalimpsestError)
        assert not token or token not in str(error)


@pytest.mark.skipif(sys.platform == "win32", reason="modes and pipes of POSIX")
def test_a_token_that_others_can_read_is_refused_and_so_is_what_is_no_file(run: Opened, tmp_path: Path) -> None:
    file, pipe = tmp_path / "token", tmp_path / "pipe"
    file.write_text(SECRET)
    file.chmod(0o640)
    os.mkfifo(pipe, 0o600)
    assert f"chmod 600 {file}" in str(run("--token-file", file))
    assert "is no file" in str(run("--token-file", pipe))
    assert "No such file" in str(run("--token-file", tmp_path / "none"))
    file.chmod(0o600)
    assert secret_of(file) == SECRET
    assert run("--token-file", file, "--host", "0.0.0.0") is None


def test_a_port_that_is_taken_is_named(run: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = run("--port", port)
    assert isinstance(error, PalimpsestError)
    assert str(error) == f"The port {port} is taken: choose another with --port, or 0 for a free one."


def test_a_port_is_taken_and_connected_to_before_the_engine_is_there() -> None:
    with listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PalimpsestError, match=f"The port {port} is taken"):
            listener("127.0.0.1", port)
        socket.create_connection(("127.0.0.1", port), 60).close()


def test_an_address_that_is_not_this_machines_is_one_sentence(run: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    for host in ("192.0.2.1", "no such name"):
        error = run("--host", host)
        assert isinstance(error, PalimpsestError)
        assert host in str(error)


def test_without_the_extra_a_sentence_says_how_to_install_it(run: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "uvicorn" else object())
    error = run()
    assert isinstance(error, PalimpsestError)
    assert "`palimpsest api` needs uvicorn: run `" in str(error)
    assert "-m pip install 'uvicorn" in str(error)


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("good", "other", "is not the key of the certificate"),
        ("expired", "expired", "has expired"),
        ("later", "later", "is not valid yet"),
        ("good", None, "is no certificate with its key"),
        ("none", None, "cannot be read: No such file"),
        ("good", "none", "cannot be read: No such file"),
        ("text", "good", "no certificate with its key in PEM"),
        ("good", "locked", "without a password"),
    ],
)
def test_a_certificate_that_will_not_do_is_one_sentence(
    issued: Issued, run: Opened, certificate: str, key: str | None, says: str
) -> None:
    words = ["--certfile", issued.certificate(certificate)]
    error = run(*words, *(["--keyfile", issued.key(key)] if key else []))
    assert isinstance(error, PalimpsestError)
    assert says in str(error)
    assert run.settings == []


def test_a_key_without_a_certificate_is_a_wrong_command_line(run: Opened) -> None:
    assert isinstance(run("--keyfile", "key.pem"), click.UsageError)


def test_https_is_spoken_with_a_certificate(issued: Issued) -> None:
    tls = context_of(issued.certificate("good"), issued.key("good"))
    trust = ssl.create_default_context(cafile=str(issued.certificate("good")))
    with serving(Recording("x"), tls=tls) as served:
        with httpx.Client(verify=trust, timeout=60, trust_env=False) as client:
            assert client.post(f"{served.url}/infill", json=infill()).json()["content"] == "x"
        with served.connected() as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(1000)
