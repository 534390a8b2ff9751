"""`palimpsest canvas`: a real process, and what stops it from starting, each in one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner

from canvas.conftest import HOLE, TEXT, Painter
from palimpsest_canvas import editor
from palimpsest_canvas.cli import command
from palimpsest_engine import EngineSettings, PalimpsestError
from palimpsest_server.cli import extras

RUN = """
import sys
from palimpsest_canvas.cli import command
from palimpsest_engine import open_engine
from palimpsest_engine.runtime.scripted import ScriptedEngine
real = lambda settings: open_engine(settings) if settings.checkpoint else ScriptedEngine(["x"], steps=1000, step_seconds=0.02)
command.main(sys.argv[1:], obj=real)
"""


def started(*arguments: object) -> subprocess.Popen[str]:
    """The command in a process over an engine that takes twenty seconds; with --model, over a real one."""
    words = [sys.executable, "-c", RUN, *map(str, arguments), "--no-open"]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ | {})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_page_and_its_fills(tmp_path: Path, number: int) -> None:
    file = tmp_path / "add.py"
    file.write_text(TEXT)
    process = started(file, "--at", "2:5")
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = httpx.URL(line.split(" is at ")[1].split()[0])
        with httpx.Client(base_url=f"http://127.0.0.1:{address.port}", trust_env=False, timeout=60) as client:
            assert client.get("/", params=address.params).status_code == 303
            shown = client.get("/api/state").json()["document"]
            assert (shown["name"], shown["language"], shown["start"], shown["end"]) == ("add.py", "python", HOLE, HOLE)
            body = {key: shown[key] for key in ("text", "start", "end", "language", "name")}
            run = client.post("/api/fill", json=body).json()["run"]
            with client.stream("GET", f"/api/runs/{run}/events") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "event: begun"
                process.send_signal(number)
                rest = list(lines)
        assert 'data: {"error":"The server is shutting down."}' in rest
        assert process.wait(30) == 0
        said = process.stderr.read()
        assert said.endswith("palimpsest: ended\n")
        assert "Traceback" not in said
    finally:
        process.kill()
        process.communicate()


def test_a_model_that_cannot_be_loaded_ends_it_with_a_sentence_and_the_models_exit_code() -> None:
    process = started("--model", "no-such-model")
    _, said = process.communicate(timeout=110)
    assert process.returncode == 20
    assert "no-such-model" in said
    assert "Traceback" not in said


class Run:
    """Runs the command in this process up to where it would serve; `apps` are what it would, `settings` of its engine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.apps: list[Any] = []
        self.settings: list[EngineSettings] = []
        self.opened: list[str] = []
        self.shown = threading.Event()
        monkeypatch.setattr("palimpsest_api.serving.serve", self._serve)
        monkeypatch.setattr("webbrowser.open", self._open)

    def __call__(self, *arguments: object) -> str:
        def open_engine(settings: EngineSettings) -> Painter:
            self.settings.append(settings)
            return Painter()

        words = [*map(str, arguments)]
        return CliRunner().invoke(command, words, obj=open_engine, catch_exceptions=False, standalone_mode=False).output

    def _serve(self, app: Any, taken: Any, tls: Any, hooks: Any) -> None:
        assert taken.getsockname()[0] == "127.0.0.1"
        self.apps.append(app)
        hooks.listening()

    def _open(self, address: str) -> bool:
        self.opened.append(address)
        self.shown.set()
        return True


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch)


def test_the_browser_is_opened_unless_it_is_not_wanted(run: Run) -> None:
    said = run()
    assert run.shown.wait(20)
    [address] = run.opened
    assert address in said
    assert run("--no-open").count("/?token=") == 1
    assert run.opened == [address]


def test_the_options_of_an_engine_are_those_of_the_other_commands(run: Run) -> None:
    run("--model", "m", "--device", "cpu", "--adapter", "a", "--profile", "fast", "--quantization", "int8", "--no-open")
    assert run.settings == [
        EngineSettings("m", "cpu", adapter="a", quantization="int8", profile="fast", shared=True),
    ]


@pytest.mark.parametrize(
    ("text", "arguments", "shown"),
    [
        (TEXT, ["--at", "2:5"], (TEXT, HOLE, HOLE)),
        (TEXT, ["--range", "1:1"], (TEXT, 0, 14)),
        (TEXT, ["--range", "1:5-1:8"], (TEXT, 4, 7)),
        (TEXT, [], (TEXT, len(TEXT), len(TEXT))),
        ("a = <|hole|>\n", [], ("a = \n", 4, 4)),
        ("def f():\n    pass\n", [], ("def f():\n    pass\n", 13, 17)),
    ],
)
def test_the_page_shows_the_file_and_the_place(
    run: Run, tmp_path: Path, text: str, arguments: list[str], shown: tuple[str, int, int]
) -> None:
    file = tmp_path / "a.py"
    file.write_text(text)
    run(file, *arguments, "--no-open")
    document = run.apps[0].state.desk.document
    assert (document.text, document.start, document.end) == shown
    assert (document.uri, document.version) == (None, None)


def test_a_large_file_is_cut_to_the_lines_around_the_place(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "large.py"
    file.write_text("".join(f"a{number} = {number}\n" for number in range(30_000)))
    for line in (1, 15_000, 30_000):
        run(file, "--at", f"{line}:3", "--no-open")
        document = run.apps[-1].state.desk.document
        whole = file.read_text()
        assert len(document.text) <= 200_000
        assert whole[document.base : document.base + len(document.text)] == document.text
        before = whole[: document.base + document.start]
        assert (before.count("\n") + 1, len(before) - before.rfind("\n")) == (line, 3)
        assert document.text[:1] == "a"


def test_without_a_file_the_page_is_empty(run: Run) -> None:
    run("--no-open")
    assert run.apps[0].state.desk.document is None


def missing(*names: str) -> Callable[[str], object]:
    return lambda name: None if name in names else object()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-file.py"], "there is no file"),
        (["--at", "1:1"], "need a FILE"),
        (["a.py", "--at", "1:1", "--range", "1:1"], "one of --at and --range"),
        (["--at", "x"], "LINE:COL"),
        (["--port", "99999"], "99999"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, arguments: list[str], words: str) -> None:
    with pytest.raises((PalimpsestError, click.ClickException)) as caught:
        run(*arguments, "--no-open")
    assert words in str(caught.value.message if isinstance(caught.value, click.ClickException) else caught.value)
    assert not run.apps


def test_a_port_that_is_taken_is_one_sentence(run: Run) -> None:
    from palimpsest_api.serving import listener

    with listener("127.0.0.1", 0) as taken, pytest.raises(PalimpsestError, match="is taken"):
        run("--port", taken.getsockname()[1], "--no-open")


def test_without_the_extra_it_says_how_to_install_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", missing("starlette", "uvicorn"))
    with pytest.raises(PalimpsestError, match=r"`palimpsest canvas` needs starlette, uvicorn: run `.* -m pip install"):
        run("--no-open")


def test_in_an_editor_the_command_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", missing("uvicorn"))
    with pytest.raises(PalimpsestError, match="the canvas needs uvicorn: run"):
        editor.start(None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("cli, palimpsest_canvas.svg, palimpsest_canvas.page", ["starlette", "uvicorn", "torch"]),  # record
        ("app, palimpsest_canvas.editor, palimpsest_api.serving", ["prometheus_client", "torch"]),
    ],
)
def test_no_package_is_needed_but_those_of_the_extra_and_for_recordings_none(modules: str, absent: list[str]) -> None:
    code = f"import sys, palimpsest_canvas.{modules}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
