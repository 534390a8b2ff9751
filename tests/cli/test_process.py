"""The command as a process of its own: start-up, exit codes, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = """
import sys
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli import main
engine = ScriptedEngine(["value"], steps=1000, step_seconds=60)
submit = engine.submit
def announced(*arguments):
    job = submit(*arguments)
    print("under way", file=sys.stderr, flush=True)
    return job
engine.submit = announced
main(obj=lambda settings: engine)
"""


def run(*arguments: str, code: str | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    how = ["-c", code] if code else ["-m", "palimpsest_server"]
    command = [sys.executable, *how, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_version_and_help() -> None:
    from palimpsest_engine import __version__

    assert run("--version").stdout == f"palimpsest, version {__version__}\n"
    listed = run("--help").stdout
    assert all(f"  {name} " in listed for name in ("fill", "infill", "serve", "doctor", "bench"))


def test_serving_imports_no_drawing_and_no_tensors() -> None:
    code = """
import sys
from palimpsest_server import app
from palimpsest_server.cli import main
heavy = {"rich", "torch", "transformers"}
app.serve = lambda factory, *, listen, client: print(listen, *heavy & set(sys.modules))
main()
"""
    assert run("serve", "--listen", "/a/b", code=code).stdout == "/a/b\n"
    assert run("serve", code=code).stdout == "None\n"
    assert run("serve", "--stdio", code=code).stdout == "None\n"  # many clients add it


def test_the_command_of_editors_skips_click() -> None:
    code = """
import gc, sys
from palimpsest_server import app
from palimpsest_server.__main__ import main
def serve(factory, *, listen=None, client=None):
    print("click" in sys.modules, gc.isenabled())
    if listen:
        return 3
    raise ZeroDivisionError
app.serve = serve
main()
"""
    for arguments in ([], ["--stdio"]):
        short = run("serve", *arguments, code=code)
        assert (short.stdout, short.returncode) == ("False False\n", 70)
        assert "this is a bug in palimpsest (ZeroDivisionError" in short.stderr
    long = run("serve", "--listen", "x", code=code)
    assert (long.stdout, long.returncode) == ("True False\n", 3)


def test_the_exit_code_of_the_server_is_that_of_the_command() -> None:
    code = """
from palimpsest_server import app
from palimpsest_server.cli import main
app.serve = lambda factory, *, listen, client: 3
main()
"""
    assert run("serve", code=code).returncode == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("nonsense", 2),
        ("serve --stdio --listen x", 2),
        ("fill nowhere.py --holes", 10),
        ("fill a.py --at 1:1 --model ./nowhere", 20),
    ],
)
def test_exit_codes(tmp_path: Path, arguments: str, code: int) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    result = run(*arguments.split(), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    if code != 2:
        assert result.stderr.startswith("palimpsest: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    "arguments",
    [
        "fill a.py --at 1:1 --write",
        "fill a.py --at 1:1 --write --watch",
        "infill --data in.jsonl --out out.jsonl",
    ],
)
def test_an_interrupt_ends_with_130_and_writes_nothing(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "in.jsonl").write_text(json.dumps({"task_id": "a", "prompt": "", "suffix": ""}) + "\n")
    command = [sys.executable, "-c", SLOW, *arguments.split()]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if "under way" in line:
                break
        process.send_signal(signal.SIGINT)
        said, answer = process.stderr.read(), process.stdout.read()
    assert process.returncode == 130, said
    assert said.endswith("palimpsest: interrupted\n")
    assert "Traceback" not in said
    assert answer == ""
    assert (tmp_path / "a.py").read_text() == "x = 1\n"
    assert {path.name for path in tmp_path.iterdir()} <= {"a.py", "in.jsonl", "out.jsonl"}
    assert not (tmp_path / "out.jsonl").exists() or (tmp_path / "out.jsonl").read_text() == ""


@pytest.mark.skipif(os.name == "nt", reason="pipes")
def test_a_closed_output_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * 50_000)
    code = SLOW.replace("steps=1000, step_seconds=60", "steps=0")
    shell = f'{sys.executable} -c "$CODE" fill a.py --range 1:50000 | head -c 1'
    result = subprocess.run(
        ["sh", "-c", shell],
        cwd=tmp_path,
        env=os.environ | {"CODE": code},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "-"
    assert "Traceback" not in result.stderr
