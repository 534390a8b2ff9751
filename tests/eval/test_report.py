"""Tables with floors, ceiling, intervals and paired tests; and pages that keep their other text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_eval.measures import ResultRow
from palimpsest_eval.report import by_kind, gap, main_table, put_between_marks, section, shown, tables
from palimpsest_eval.results import Results

CHECKPOINT = {
    "name": "tiny",
    "sha256": "0123456789abcdef" * 4,
    "parameters": 5_900_000,
    "dtype": "float32",
    "device": "cpu",
}
ABOUT = {
    "date": "2030-01-01",
    "command": "palimpsest eval humaneval x.jsonl",
    "machine": {"cpu": "Some CPU", "cores": 2, "threads": 1, "gpu": None, "torch": "2.11"},
    "network": "an audit hook",
    "user": "nobody",
}


def row(system: str, task: int, passed: bool | None, **more: Any) -> ResultRow:
    fields: dict[str, Any] = {
        "kind": "line",
        "seed": 0,
        "text": "x",
        "passed": passed,
        "outcome": None,
        "exact": bool(passed),
        "any_exact": bool(passed),
        "similarity": 1.0 if passed else 0.5,
        "parses": True,
        "raw": 4,
        "raw_parse": 3,
        "first_parses": True,
        "treatment": "none",
        "nfe": 8,
        "ms": 100.0,
        "repair_ms": 0.0,
    }
    return ResultRow(system=system, task=str(task), **{**fields, **more})


def made(rights: dict[str, list[bool]], name: str = "tiny", experiment: str = "systems", **more: Any) -> Results:
    settings = {
        "experiment": experiment,
        "data": {"name": "x.jsonl.gz"},
        "problems": 20,
        "seeds": [0],
        "commit": "abc123",
        "checkpoint": {**CHECKPOINT, "name": name},
    }
    rows = [row(system, i, right, **more) for system, of in rights.items() for i, right in enumerate(of)]
    return Results(settings, ABOUT, tuple(rows))


HALF, ALL, NONE = [True] * 10 + [False] * 10, [True] * 20, [False] * 20
RESULTS = made({"chosen length": HALF, "oracle length": ALL, "empty": NONE, "truth": ALL})


def lines(text: str) -> dict[str, list[str]]:
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in found}


def test_rates_have_their_interval() -> None:
    assert shown([True] * 15 + [False] * 133) == "10.1 (6.2–16.0)"
    assert shown([None, None]) == "–"
    assert shown([None, True]) == "100.0 (20.7–100.0)"


def test_a_table_has_floors_ceiling_and_a_paired_test() -> None:
    (table,) = tables([RESULTS])
    assert table.title == "x, 20 problems"
    shown_lines = lines(main_table(table))
    assert list(shown_lines) == ["system", "---", "chosen length", "oracle length", "empty", "truth"]
    columns = dict(zip(shown_lines["system"], shown_lines["oracle length"], strict=True))
    assert columns["pass@1 %"] == "100.0 (83.9–100.0)"
    assert columns["points over chosen length"] == "+50.0, p = 0.002"  # ten pairs differ, all one way
    assert columns["before the gate %"] == "75.0"
    assert columns["similarity over it"].startswith("+25.0 (+")
    assert columns["times its p50"] == "1.00"
    assert shown_lines["empty"][-1] == "–"
    assert gap(table) == "Oracle length over chosen length: +50.0 points."
    assert by_kind(table) == ""


def test_a_named_baseline() -> None:
    (table,) = tables([RESULTS], "oracle length")
    assert "points over oracle length" in lines(main_table(table))["system"]
    with pytest.raises(DataError, match="no system nothing"):
        tables([RESULTS], "nothing")


def test_checkpoints_share_a_table_of_the_same_problems() -> None:
    control = made({"left to right": NONE, "empty": NONE, "truth": ALL}, "tiny-ar", ms=200.0)
    (table,) = tables([RESULTS, control])
    assert list(table.systems) == [
        "chosen length, tiny",
        "oracle length, tiny",
        "left to right, tiny-ar",
        "empty",
        "truth",
    ]
    columns = dict(
        zip(lines(main_table(table))["system"], lines(main_table(table))["left to right, tiny-ar"], strict=True)
    )
    assert columns["times its p50"] == "2.00"
    assert columns["points over chosen length, tiny"] == "-50.0, p = 0.002"
    assert gap(table) == "Oracle length, tiny over chosen length, tiny: +50.0 points."
    with pytest.raises(DataError, match="two of the results"):
        tables([RESULTS, RESULTS])


def test_other_problems_are_another_table() -> None:
    other = made({"as it is": HALF}, experiment="sweep")
    assert [table.title for table in tables([RESULTS, other])] == [
        "x, 20 problems",
        "x, 20 problems: sampling settings",
    ]


def test_ways_of_repair_are_compared_with_the_parsers() -> None:
    repairs = made({"repair: none": NONE, "repair: parser": HALF}, experiment="repairs", repair_ms=3.0)
    (table,) = tables([repairs])
    assert table.baseline == "repair: parser"
    columns = lines(main_table(table))
    assert dict(zip(columns["system"], columns["repair: none"], strict=True))["gate refused all %"] == "100.0"


def test_without_tests_exact_matches_count_by_kind() -> None:
    rows = [row("chosen length", i, None, exact=i < 5, kind="line" if i % 2 else "block") for i in range(10)]
    (table,) = tables([Results(RESULTS.settings, ABOUT, tuple(rows))])
    assert not table.executed
    assert lines(by_kind(table))["system"] == ["block: exact %", "line: exact %"]
    assert lines(by_kind(table))["chosen length"][1].startswith("40.0 (")


def test_every_table_names_the_origin_of_its_figures() -> None:
    (table,) = tables([RESULTS])
    text = section(table, ["evaluation/x.svg"])
    for part in ("abc123", "palimpsest eval humaneval x.jsonl", "2030-01-01", "Some CPU", "2 cores", "0123456789ab"):
        assert part in text
    assert "![x, 20 problems](evaluation/x.svg)" in text
    assert "an audit hook" in text


def test_a_page_keeps_the_text_outside_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    put_between_marks(page, "new")
    put_between_marks(page, "newer")
    assert page.read_text() == "before\n<!-- results -->\nnewer\n<!-- /results -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(DataError, match="has no <!-- results -->"):
        put_between_marks(page, "x")
    with pytest.raises(DocumentMissing, match="there is no folder"):
        put_between_marks(tmp_path / "nowhere" / "page.md", "x")
    with pytest.raises(DocumentMissing, match="is no page"):
        put_between_marks(tmp_path, "x")


def test_a_page_that_is_not_there_is_made(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    put_between_marks(page, "old")
    put_between_marks(page, "new")
    assert page.read_text() == "# Evaluation\n\n<!-- results -->\nnew\n<!-- /results -->\n"


def test_the_same_results_give_the_same_drawing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from palimpsest_eval.plots import draw

    (table,) = tables([RESULTS])
    first = draw(table, tmp_path)
    assert [path.name for path in first] == ["x-20-problems-rates.svg", "x-20-problems-time.svg"]
    drawn = [path.read_bytes() for path in first]
    assert [path.read_bytes() for path in draw(table, tmp_path)] == drawn
    assert all(picture.count(b"<svg") == 1 for picture in drawn)
