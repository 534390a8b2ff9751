"""Tables and curves of kept figures."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from palimpsest_bench import plots, tables
from palimpsest_bench.table import ms
from palimpsest_server.cli import extras

from .conftest import EVERYTHING, SCHEMA, Palimpsest


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a file with every figure."""
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(EVERYTHING))
    return path


def test_the_example_has_every_key_of_the_page() -> None:
    jsonschema.validate(EVERYTHING, SCHEMA)
    assert set(SCHEMA["properties"]) == set(EVERYTHING)


def test_tables_come_from_a_file(palimpsest: Palimpsest, kept: Path) -> None:
    shown = palimpsest("bench", "--from", kept).stdout
    assert "One of One" in shown
    markdown = palimpsest("bench", "--from", kept, "--table").stdout
    assert markdown.startswith("<!-- bench -->\n| figure |")
    assert markdown.count("<!-- /bench -->") == 1
    for line in markdown.splitlines():
        assert not line.startswith("|") or line.endswith("|")
    for said in ("| 65,536 | it would", "no room", "2.5 times", "| `generate()` |", "12.3 / 45.6 ms"):
        assert said in markdown
    assert json.loads(palimpsest("bench", "--from", kept, "--json").stdout) == EVERYTHING


def test_few_figures_make_small_tables() -> None:
    little = {"format": 1, "version": "0", "machine": "Here", "errors": {}, "took_s": {}, "step_ms": 5.0}
    little |= {"step_over_floor": 2.0}
    assert [table.title for table in tables.tables(little)] == [tables.MAIN]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.9123, "0.912 ms"), (12.34, "12.3 ms"), (431.6, "432 ms"), (9999.0, "9999 ms"), (61_000, "61 s")],
)
def test_milliseconds_are_rounded(value: float, shown: str) -> None:
    assert ms(value) == shown


def test_curves_are_drawn_from_a_file_and_are_the_same_each_time(
    palimpsest: Palimpsest, kept: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        assert palimpsest("bench", "--from", kept, "--plots", tmp_path / folder).exit_code == 0
    names = ["bench-contexts.svg", "bench-files.svg", "bench-peers.svg", "bench-steps.svg"]
    assert sorted(each.name for each in (tmp_path / "a").iterdir()) == names
    for name in names:
        drawn = (tmp_path / "a" / name).read_text()
        assert drawn == (tmp_path / "b" / name).read_text()
        assert len(drawn) < 100_000
        assert str(tmp_path) not in drawn


def test_a_folder_that_cannot_be_made_is_reported(palimpsest: Palimpsest, kept: Path) -> None:
    result = palimpsest("bench", "--from", kept, "--plots", kept / "folder")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_nothing_is_drawn_without_figures(tmp_path: Path) -> None:
    assert plots.draw({"machine": "Here"}, tmp_path) == []


def test_missing_matplotlib_is_reported_before_anything_is_measured(
    palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    result = palimpsest("bench", "--only", "overhead", "--plots", tmp_path)
    assert result.exit_code == 1
    assert "-m pip install 'matplotlib" in result.stderr
    assert "measuring" not in result.stderr
