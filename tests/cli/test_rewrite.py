"""`palimpsest rewrite`: whole lines as the user says, and not a byte more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Palimpsest

CODE = "def add(a, b):\r\n    return a + b\r\n\r\nprint(add(1, 2))\r\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.py"
    path.write_bytes(CODE.encode())
    return path


def test_the_change_is_shown_and_nothing_is_written(palimpsest: Palimpsest, file: Path) -> None:
    palimpsest.script = ["def add(a: int, b: int) -> int:\r\n    return a + b\r\n"]
    result = palimpsest("rewrite", file, "--range", "1:2", "add type hints", "--model", "x")
    assert result.exit_code == 0
    assert "+def add(a: int, b: int) -> int:" in result.stdout
    assert file.read_bytes() == CODE.encode()
    assert palimpsest.opened[0].checkpoint == "x"


def test_lines_are_written_whole_and_the_rest_stays(palimpsest: Palimpsest, file: Path) -> None:
    palimpsest.script = ["    return b + a\r\n"]
    assert palimpsest("rewrite", file, "--range", "2:2", "turn it round", "--write").exit_code == 0
    assert file.read_bytes() == CODE.replace("a + b", "b + a").encode()


def test_json_names_the_edit(palimpsest: Palimpsest, file: Path) -> None:
    palimpsest.script = ["    return 0\r\n"]
    told = json.loads(palimpsest("rewrite", file, "--range", "2:2", "return nothing", "--json").stdout)
    (edit,) = told["edits"]
    assert edit["text"] == "    return 0\r\n"
    assert edit["range"]["start"] == {"line": 1, "character": 0}


def test_no_answer_has_a_reason_and_an_exit_code(palimpsest: Palimpsest, file: Path) -> None:
    palimpsest.script = [""]
    result = palimpsest("rewrite", file, "--range", "2:2", "x", "--write")
    assert result.exit_code == 1
    assert file.read_bytes() == CODE.encode()


@pytest.mark.parametrize(
    ("arguments", "code"), [(("--range", "2:2", " "), 2), (("x",), 2), (("--range", "9:9", "x"), 13)]
)
def test_calls_that_mean_nothing_are_refused(
    palimpsest: Palimpsest, file: Path, arguments: tuple[str, ...], code: int
) -> None:
    assert palimpsest("rewrite", file, *arguments).exit_code == code


@pytest.mark.parametrize("question", [(), ("what is b?",)])
def test_an_explanation_is_printed_and_nothing_changes(
    palimpsest: Palimpsest, file: Path, question: tuple[str]
) -> None:
    palimpsest.script = ["It adds.\n\n\x1b[2JIt is short."]
    result = palimpsest("rewrite", file, "--range", "1:2", *question, "--explain")
    assert result.exit_code == 0
    assert result.stdout.startswith("It adds.\n\n")
    assert "\x1b" not in result.stdout
    assert file.read_bytes() == CODE.encode()


def test_no_explanation_has_a_reason_and_an_exit_code(palimpsest: Palimpsest, file: Path) -> None:
    palimpsest.script = [""]
    result = palimpsest("rewrite", file, "--range", "1:2", "--explain")
    assert result.exit_code == 1
    assert "nothing is said" in result.stderr


@pytest.mark.parametrize("option", ["--write", "--json", "--watch"])
def test_an_explanation_changes_nothing(palimpsest: Palimpsest, file: Path, option: str) -> None:
    assert palimpsest("rewrite", file, "--range", "1:2", "--explain", option).exit_code == 2
