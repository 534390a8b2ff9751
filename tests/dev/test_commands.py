"""The command lines of development on each system, and what the Makefile and the pages say of them."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from palimpsest_dev import __main__ as entry
from palimpsest_dev import commands
from palimpsest_dev.commands import COMMANDS, Environment

ROOT = Path(__file__).parents[2]
LINUX = Environment(PurePosixPath(".venv"), windows=False)
WINDOWS = Environment(PureWindowsPath(r"C:\My Code\palimpsest\.venv"), windows=True)


def test_programs_are_where_each_system_has_them() -> None:
    assert LINUX.python == ".venv/bin/python"
    assert WINDOWS.python == r"C:\My Code\palimpsest\.venv\Scripts\python.exe"
    assert WINDOWS.program("lint-imports") == r"C:\My Code\palimpsest\.venv\Scripts\lint-imports.exe"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_line_is_the_same_on_windows_but_for_the_place_of_its_program(name: str) -> None:
    here, there = (COMMANDS[name].lines(place, 3) for place in (LINUX, WINDOWS))
    assert [line[1:] for line in here] == [line[1:] for line in there]
    assert all(line[0].startswith(rf"{WINDOWS.folder}\Scripts") and line[0].endswith(".exe") for line in there)


def test_the_oldest_libraries_have_an_environment_and_constraints_of_their_own() -> None:
    oldest = WINDOWS.beside("oldest", "constraints/oldest.txt")
    assert oldest.python == r"C:\My Code\palimpsest\.venv-oldest\Scripts\python.exe"
    assert commands.install(oldest, "dev")[-3:] == ("constraints/oldest.txt", "--editable", ".[dev]")


def test_tests_that_share_a_model_run_in_one_process() -> None:
    (test,), (coder,) = (COMMANDS[name].lines(LINUX, 3) for name in ("test", "test-coder"))
    assert test[-4:] == ("-n", "3", "--dist", "worksteal")
    assert "-n" not in coder


def _started(
    monkeypatch: pytest.MonkeyPatch, root: Path, *arguments: str, failing: str = "\0"
) -> tuple[int, list[str]]:
    """Run a command in a made-up repository; return its exit code and the lines that it would have started."""
    lines: list[str] = []

    def run(line: tuple[str, ...]) -> int:
        lines.append(" ".join(line))
        return int(failing in lines[-1])

    monkeypatch.setattr(entry, "ROOT", root)
    monkeypatch.setattr(entry, "_run", run)
    return entry.main(arguments), lines


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "constraints").mkdir()
    python = tmp_path / Environment(PurePosixPath(".venv"), os.name == "nt").python
    python.parent.mkdir(parents=True)
    for file in (
        python,
        tmp_path / "pyproject.toml",
        *(tmp_path / f"constraints/{n}.txt" for n in ("newest", "oldest")),
    ):
        file.touch()
    return tmp_path


def test_libraries_are_installed_once_and_again_when_the_project_changes(
    monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    _, first = _started(monkeypatch, root, "lint")
    _, second = _started(monkeypatch, root, "lint")
    assert "pip install" in first[0]
    assert first[1:] == second
    stamp = root / ".venv" / "installed-dev"
    os.utime(stamp, (1, 1))
    _, third = _started(monkeypatch, root, "lint")
    assert third == first


def test_the_first_program_that_fails_ends_the_command_with_its_code(
    monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    code, lines = _started(monkeypatch, root, "demo", failing="pip install")
    assert code == 1
    assert len(lines) == 1
    code, lines = _started(monkeypatch, root, "lint", failing="format")
    assert code == 1
    assert "format" in lines[-1]


def test_the_demonstration_falls_back_to_the_embedded_model(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    _, lines = _started(monkeypatch, root, "demo", failing="models pull")
    assert lines[-1].endswith("--model embedded")
    _, lines = _started(monkeypatch, root, "demo", "--model", "embedded")
    assert not any("models pull" in line for line in lines)
    _, lines = _started(monkeypatch, root, "demo")
    assert "models pull --recommended" in lines[0]
    assert "--model" not in lines[-1]


def test_make_comes_here_for_every_command_that_both_have() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for name in ("demo", *COMMANDS):
        recipe = re.search(rf"^{name}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
        assert recipe is not None, name
        assert re.search(rf"\$\(DEV\) .*\b{name}\b", recipe[1]), f"{name} has a command line of its own"
