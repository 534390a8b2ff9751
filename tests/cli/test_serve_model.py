"""`palimpsest models serve`: which file, which llama.cpp, what is printed, and that everything ends with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from palimpsest_engine import CheckpointMissing, EndpointError, UnsupportedCheckpoint
from palimpsest_server.cli import serve_model
from small_model import small_model

# A program that looks like llama-server for as long as a test takes.
FAKE = """#!{python}
import http.server, json, sys
if "broken" in sys.argv[2]:
    print("error: not a model", file=sys.stderr)
    sys.exit(3)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"default_generation_settings": {{"n_ctx": 4096}}, "model_path": sys.argv[2]}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if "passing" in sys.argv[2]:
            import os
            os._exit(0)
    def log_message(self, *_):
        pass
http.server.HTTPServer((sys.argv[4], int(sys.argv[6])), Handler).serve_forever()
"""
RUN = "import sys; from palimpsest_server.cli.serve_model import command; command.main(sys.argv[1:])"


@pytest.fixture
def llama_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bin" / "llama-server"
    path.parent.mkdir()
    path.write_text(FAKE.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    return path


def named(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_bytes(b"GGUF")
    return tmp_path / names[0]


def started(*arguments: object) -> tuple[subprocess.Popen[str], str]:
    """Start the command in a process; return it and its first line."""
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline()


def answers(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
def test_llama_server_on_the_path_is_run_on_loopback_until_an_interrupt(llama_server: Path, tmp_path: Path) -> None:
    process, line = started(named(tmp_path, "tiny.gguf"), "--port", 0)
    url = line.split(" at ")[1].split(",")[0]
    assert line == f"tiny answers at {url}, on this machine only. Ctrl-C ends it.\n"
    assert url.startswith("http://127.0.0.1:")
    assert answers(url)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    out = process.stdout.read()  # `communicate` would lose what was read along with the first line
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.dumps({"palimpsest": {"endpoint": url}}) in out
    assert f"palimpsest doctor --endpoint {url}" in out
    assert not answers(url)


@pytest.mark.skipif(sys.platform == "win32", reason="a script is no program there")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken.gguf", "llama.cpp did not start (exit code 3, after: error: not a model)."),
        ("passing.gguf", "llama.cpp ended by itself (exit code 0)."),
    ],
)
def test_a_llama_cpp_that_ends_costs_one_sentence(name: str, says: str, llama_server: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(serve_model.command, [str(named(tmp_path, name)), "--port", "0"])
    assert isinstance(result.exception, EndpointError)
    assert str(result.exception) == says


def test_the_last_words_of_a_program_are_told_if_they_are_read_after_its_end() -> None:
    may_read, command = threading.Event(), [sys.executable, "-c", "import sys; sys.exit('no luck today')"]

    class Late(threading.Thread):
        def run(self) -> None:
            may_read.wait()
            super().run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "Thread", Late)
        with serve_model.running(command, verbose=False) as (process, last_words):
            assert process.wait() == 1
            threading.Timer(0.1, may_read.set).start()
            assert last_words() == "no luck today"


def test_without_any_llama_cpp_a_sentence_says_where_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EndpointError, match="-m pip install 'xllamacpp"):
        serve_model.program(tmp_path, 1, 512)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EndpointError, match=f"The port {port} is taken"):
            serve_model.free_port(port)
    assert serve_model.free_port(0) > 0


def test_the_file_is_found_by_path_or_folder(tmp_path: Path) -> None:
    alone = named(tmp_path, "one.gguf")
    assert serve_model.gguf_of(str(alone)) == serve_model.gguf_of(str(tmp_path)) == alone.resolve()
    named(tmp_path, "two.gguf")
    with pytest.raises(UnsupportedCheckpoint, match="several GGUF files"):
        serve_model.gguf_of(str(tmp_path))
    with pytest.raises(CheckpointMissing, match="no GGUF file"):
        serve_model.gguf_of(str(tmp_path / "none.gguf"))
    with pytest.raises(CheckpointMissing, match="or a GGUF file"):
        serve_model.gguf_of(__file__)
    parts = tmp_path / "parts"
    parts.mkdir()
    first = named(parts, "m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    assert serve_model.gguf_of(str(parts)) == first.resolve()


@pytest.mark.xdist_group("llama.cpp")
def test_a_real_model_is_served_and_the_server_ends_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xllamacpp", reason="the extra llama is not installed")
    path = small_model()
    monkeypatch.setenv("PATH", "")
    process, line = started(path, "--port", 0, "--context", 512)
    url = line.split(" at ")[1].split(",")[0]
    assert line.startswith("SmolLM2-135M-Instruct.Q4_1 answers at ")
    assert answers(url)
    process.kill()  # nothing is cleaned up, and the server ends nevertheless
    process.communicate(timeout=20)
    deadline = time.monotonic() + 60
    while answers(url):
        assert time.monotonic() < deadline
        time.sleep(0.05)
