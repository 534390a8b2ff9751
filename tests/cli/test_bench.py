from __future__ import annotations

import ast
import importlib.resources
import json
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import EngineSettings, PalimpsestError
from palimpsest_server.cli import bench, figures, measure, replay, stand_ins
from palimpsest_server.cli.editor import Editor, Place

from .conftest import Palimpsest

DOCUMENT = importlib.resources.files("palimpsest_server.cli").joinpath("bench_document.txt").read_text("utf-8")


def test_the_document_is_python() -> None:
    ast.parse(DOCUMENT)


@pytest.mark.parametrize("keystrokes", [1, 7, 41, 200])
def test_typing_is_inside_the_code_of_lines(keystrokes: int) -> None:
    rows = DOCUMENT.split("\n")
    plan = measure.typing(DOCUMENT, keystrokes)
    assert len(plan) == keystrokes
    assert len(set(plan)) == keystrokes  # the same text twice would be answered from what is kept
    assert not any('"' in rows[line] for line, _ in plan)
    assert all(rows[line].startswith(so_far) and so_far.strip() and so_far != rows[line] for line, so_far in plan)


def test_cursors_are_behind_what_was_typed() -> None:
    plan, cursors = measure.typing(DOCUMENT, 9), measure.cursors(DOCUMENT, 9)
    for (line, so_far), cursor in zip(plan, cursors, strict=True):
        assert DOCUMENT[:cursor].split("\n")[-1] == so_far
        assert DOCUMENT[:cursor].count("\n") == line


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_percentiles_are_in_order(values: list[float]) -> None:
    figures = measure.percentiles(values)
    assert figures["p50"] == pytest.approx(statistics.median(values), abs=1e-3)
    assert (
        min(values) - 1e-3 <= figures["p25"] <= figures["p50"] <= figures["p75"] <= figures["p95"] <= max(values) + 1e-3
    )


def test_a_real_server_is_measured() -> None:
    seen = measure.observe(bench._SCRIPTED_SERVER, {}, DOCUMENT, 3)
    assert (seen.model, len(seen.keystrokes)) == ("scripted", 3)
    assert all(0 < each.first_answer_ms <= each.settled_ms for each in seen.keystrokes)
    assert 0 < seen.initialize_ms <= seen.ready_ms
    assert seen.memory_mb > 1


def test_a_late_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool] = []
    ask = Editor.suggested

    async def noted(self: Editor, uri: str, cursor: Place) -> str:
        text = await ask(self, uri, cursor)
        answers.append(bool(text))
        return text

    monkeypatch.setattr(Editor, "suggested", noted)
    slow = stand_ins.command("scripted", script=["value"], steps=2, step_seconds=0.05)
    measure.observe(slow, {"answerWithinMs": 0}, DOCUMENT, 2)
    assert answers[::2] == [False] * len(answers[1::2])
    assert answers[1::2] == [True] * 6  # before the character and after it


def test_a_foretold_character_is_not_timed() -> None:
    _, so_far = measure.typing(DOCUMENT, 8)[0]
    seen = measure.observe(stand_ins.command("scripted", script=[so_far[-1] + "x"]), {}, DOCUMENT, 3)
    assert seen.foretold >= 1
    assert len(seen.keystrokes) <= 3


def test_an_empty_answer_with_nothing_to_come_is_not_waited_for() -> None:
    seen = measure.observe(stand_ins.command("scripted", script=[""]), {}, DOCUMENT, 3)
    assert (len(seen.keystrokes), seen.foretold) == (3, 0)


def test_a_server_whose_engine_fails_is_an_error() -> None:
    script = (
        "from palimpsest_engine import PalimpsestError; from palimpsest_server.cli import main\n"
        "def fail(settings): raise PalimpsestError('it is broken')\n"
        "main(['serve'], obj=fail)"
    )
    with pytest.raises(PalimpsestError, match="it is broken"):
        measure.observe((sys.executable, "-c", script), {}, DOCUMENT, 2)


def test_the_report_has_every_figure(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[EngineSettings] = []
    engine = SimpleNamespace(
        reencoding=lambda settings, text, at: (asked.append(settings), {"fraction": 0.1})[1],
        left_to_right=lambda settings, text, cursors: {"ratio": 2.5, "more": len(cursors)},
    )
    monkeypatch.setitem(sys.modules, "palimpsest_engine.measure", engine)
    monkeypatch.setattr("palimpsest_engine.measure", engine, raising=False)
    monkeypatch.setattr(bench, "_SERVER", bench._SCRIPTED_SERVER)
    only = [each for part in ("keystroke", "overhead", "engine") for each in ("--only", part)]
    result = palimpsest("bench", "--quick", "--json", "--device", "cpu", *only)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    for name in ("keystroke_ms", "first_answer_ms", "server_overhead"):
        assert {"p50", "p95", "p25", "p75", "samples"} == set(report[name])
    assert report["server_overhead_ms"] == report["server_overhead"]["p50"]
    assert (report["reencode_fraction"], report["ratio_over_left_to_right"]) == (0.1, 2.5)
    assert report["memory_mb"] > 1
    assert asked == [EngineSettings(None, "cpu")]


def test_without_a_choice_every_part_is_measured(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PARTS", {name: lambda plan, name=name: {name: plan.quick} for name in bench.PARTS})
    report = json.loads(palimpsest("bench", "--quick", "--json").stdout)
    assert {name: report.pop(name) for name in bench.PARTS} == dict.fromkeys(bench.PARTS, True)
    assert set(report) == {"format", "version", "machine"}
    assert set(json.loads(palimpsest("bench", "--only", "typing", "--json").stdout)) == {*report, "typing"}


def test_no_other_part_can_be_chosen(palimpsest: Palimpsest) -> None:
    assert palimpsest("bench", "--only", "sleeping").exit_code == 2


@pytest.mark.parametrize("part", bench.PARTS)
def test_every_part_is_on_the_page(part: str) -> None:
    assert f"| `{part}` |" in (Path(__file__).parents[2] / "docs" / "json.md").read_text()


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=300))
def test_percentiles_are_among_the_values(values: list[float]) -> None:
    figure = figures.percentiles(values, 50, 99)
    assert figure["samples"] == len(values)
    assert min(values) - 1e-3 <= figure["p50"] <= figure["p99"] <= max(values) + 1e-3


def test_typing_is_measured() -> None:
    assert set(figures.typing(DOCUMENT, 30)) == {"p50", "p95", "p99", "samples"}


def test_a_big_file_is_measured() -> None:
    assert figures.big_file(DOCUMENT, 100_000, 5)["samples"] == 5


def test_typing_along_is_measured() -> None:
    assert figures.along(DOCUMENT, 150)["samples"] >= 150


@pytest.mark.parametrize(("script", "said"), [("", "nothing was suggested")])
def test_nothing_to_type_along_is_an_error(script: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_FORETOLD", script)
    with pytest.raises(PalimpsestError, match=said):
        figures.along(DOCUMENT, 5)


def test_memory_is_measured_over_files_that_come_and_go() -> None:
    figure = figures.memory_growth(0.01)
    assert figure["ratio"] > 0
    assert figure["after_hour_mb"] > 1


def test_the_share_is_what_the_server_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def counters(self: Editor) -> dict[str, int]:
        return {"model": 2}

    some = {name: replay.sessions()[name] for name in ("widget", "module")}
    monkeypatch.setattr(replay, "sessions", lambda: some)
    monkeypatch.setattr(Editor, "counters", counters)
    share = figures.model_share(5)
    assert share["sessions"].keys() == some.keys()
    assert share["keystrokes"] == 10
    assert (share["all"], share["never_right"]) == (0.4, 0.4)
