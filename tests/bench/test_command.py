from __future__ import annotations

import ast
import importlib.resources
import json
import re
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_bench import cli, parts, plots, tables
from palimpsest_bench.server import figures, observe, real, replay, stand_ins
from palimpsest_bench.server.client import Editor, Place
from palimpsest_engine import PalimpsestError

from .conftest import Palimpsest

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text("utf-8")
SCHEMA = json.loads(re.findall(r"```json\n(.*?)```", PAGE.split("## `palimpsest bench --json`")[1], re.S)[-1])
EVERYTHING = json.loads((Path(__file__).parent / "everything.json").read_text("utf-8"))
DOCUMENT = importlib.resources.files("palimpsest_bench").joinpath("document.txt").read_text("utf-8")


def test_the_document_is_python() -> None:
    ast.parse(DOCUMENT)


@pytest.mark.parametrize("keystrokes", [1, 7, 41, 200])
def test_typing_is_inside_the_code_of_lines(keystrokes: int) -> None:
    rows = DOCUMENT.split("\n")
    plan = observe.typing(DOCUMENT, keystrokes)
    assert len(plan) == keystrokes
    assert len(set(plan)) == keystrokes  # the same text twice would be answered from what is kept
    assert not any('"' in rows[line] for line, _ in plan)
    assert all(rows[line].startswith(so_far) and so_far.strip() and so_far != rows[line] for line, so_far in plan)


def test_cursors_are_behind_what_was_typed() -> None:
    plan, cursors = observe.typing(DOCUMENT, 9), observe.cursors(DOCUMENT, 9)
    for (line, so_far), cursor in zip(plan, cursors, strict=True):
        assert DOCUMENT[:cursor].split("\n")[-1] == so_far
        assert DOCUMENT[:cursor].count("\n") == line


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=300))
def test_percentiles_are_in_order_and_within_the_values(values: list[float]) -> None:
    found = observe.percentiles(values, 25, 50, 75, 95, 99)
    assert found.pop("samples") == len(values)
    assert found["p50"] == pytest.approx(statistics.median(values), abs=1e-3)
    assert list(found.values()) == sorted(found.values())
    assert min(values) - 1e-3 <= found["p25"]
    assert found["p99"] <= max(values) + 1e-3


def test_a_real_server_is_measured() -> None:
    seen = observe.observe(parts.SCRIPTED_SERVER, {}, DOCUMENT, 3)
    assert (seen.model, len(seen.keystrokes)) == ("scripted", 3)
    assert all(0 < each.first_answer_ms <= each.settled_ms for each in seen.keystrokes)
    assert 0 < seen.initialize_ms <= seen.ready_ms
    assert seen.memory_mb > 1


def test_the_typist_cuts_one_line_at_a_time() -> None:
    documents: list[str] = []

    def change(uri: str, version: int, start: Place, end: Place, text: str) -> None:
        rows = documents[-1].split("\n")
        row = rows[start[0]]
        assert start[0] == end[0]
        rows[start[0]] = row[: start[1]] + text + row[min(end[1], len(row)) :]
        documents.append("\n".join(rows))

    def put(uri: str, version: int | str, text: str) -> None:
        documents.append(text)

    editor = SimpleNamespace(
        finals={}, change=change, replace=put, open=lambda uri, language, text: documents.append(text)
    )
    typist = observe.Typist(editor)  # type: ignore[arg-type]
    for text in ("first\nsecond\nthird", "first\nsecond\nthird", "other\ntext"):
        for line, so_far in ((0, "fi"), (1, "sec"), (1, "s"), (0, "")):
            typist._cut(text, line, so_far)
            rows = text.split("\n")
            rows[line] = so_far
            assert documents[-1] == "\n".join(rows)
            typist._editor.change("", 0, (line, len(so_far)), (line, len(so_far)), "x")


def test_a_late_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool] = []
    ask = Editor.suggested

    async def noted(self: Editor, uri: str, cursor: Place) -> str:
        text = await ask(self, uri, cursor)
        answers.append(bool(text))
        return text

    monkeypatch.setattr(Editor, "suggested", noted)
    slow = stand_ins.command("scripted", script=["value"], steps=2, step_seconds=0.05)
    observe.observe(slow, {"answerWithinMs": 0}, DOCUMENT, 2)
    assert answers[::2] == [False] * len(answers[1::2])
    assert answers[1::2] == [True] * 6  # before the character and after it


def test_a_foretold_character_is_not_timed() -> None:
    _, so_far = observe.typing(DOCUMENT, 8)[0]
    seen = observe.observe(stand_ins.command("scripted", script=[so_far[-1] + "x"]), {}, DOCUMENT, 3)
    assert seen.foretold >= 1
    assert len(seen.keystrokes) <= 3


def test_an_empty_answer_with_nothing_to_come_is_not_waited_for() -> None:
    seen = observe.observe(stand_ins.command("scripted", script=[""]), {}, DOCUMENT, 3)
    assert (len(seen.keystrokes), seen.foretold) == (3, 0)


def test_a_server_whose_engine_fails_is_an_error() -> None:
    script = (
        "from palimpsest_engine import PalimpsestError; from palimpsest_server.cli import main\n"
        "def fail(settings): raise PalimpsestError('it is broken')\n"
        "main(['serve'], obj=fail)"
    )
    with pytest.raises(PalimpsestError, match="it is broken"):
        observe.observe((sys.executable, "-c", script), {}, DOCUMENT, 2)


def test_the_report_has_every_figure(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SERVER", parts.SCRIPTED_SERVER)
    only = [each for part in ("keystroke", "overhead", "files", "session") for each in ("--only", part)]
    short = {name: replay.sessions()[name][:25] for name in ("widget", "module")}
    monkeypatch.setattr(replay, "sessions", lambda: short)
    monkeypatch.setattr(real, "SIZES", (1000, 20_000))
    monkeypatch.setattr(real.files, "__defaults__", ((1000, 20_000),))
    result = palimpsest("bench", "--quick", "--json", "--device", "cpu", *only)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["errors"] == {}
    jsonschema.validate(report, SCHEMA)
    assert {"p50", "p95", "p25", "p75", "samples"} == set(report["keystroke_ms"])
    assert report["server_overhead_ms"] == report["server_overhead"]["p50"]
    assert report["memory_mb"] > 1
    assert [row["characters"] for row in report["files"]["overhead_ms"]] == [1000, 20_000]
    assert report["session"]["sessions"] == ["module"]  # the embedded checkpoint knows Python alone
    assert report["session"]["left_out"] == ["widget"]
    assert report["session"]["keystrokes"] == 24


def test_the_engine_is_measured_without_a_server(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is the command for a large model, run on a narrow one."""
    monkeypatch.setattr("palimpsest_bench.engine.contexts.LENGTHS", (16, 32, 8192))
    monkeypatch.setattr("palimpsest_bench.engine.peers.shutil.which", lambda name: None)
    monkeypatch.setattr(parts.Plan, "lengths", [16, 64])
    monkeypatch.setattr(parts, "_STEPS_SECONDS", 0.0)
    monkeypatch.setattr("palimpsest_bench.engine.fills.HOLE_CONTEXT", 128)
    monkeypatch.setattr("palimpsest_bench.engine.fills.HOLE_STEPS", 2)
    result = palimpsest("bench", "--quick", "--json", "--shape", "26b-narrow", "--device", "cpu")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["errors"] == {}
    jsonschema.validate(report, SCHEMA)
    assert set(parts.WITHOUT_A_CHECKPOINT) == set(report["took_s"])
    for name in ("step_ms", "ratio_over_generate", "tokens_per_second", "fill_64_ms", "hardware", "floor"):
        assert report[name], name
    assert report["ratio_over_generate_static"] is None
    assert [point["tokens"] for point in report["contexts"]] == [16, 32]
    assert report["shape"] == "26b-narrow"
    (row,) = report["steps"]
    assert (row["context"], row["canvas"], row["batch"], report["steps_left_out"]) == (64, 32, 1, 11)
    assert report["ratio_over_generate"] == pytest.approx(row["generate_step_ms"] / row["step_ms"])


def test_ratios_come_from_a_checkpoint(palimpsest: Palimpsest) -> None:
    report = json.loads(palimpsest("bench", "--quick", "--json", "--only", "engine", "--device", "cpu").stdout)
    assert report["reencode_fraction"] == report["reencoding"]["fraction"]
    assert report["ratio_over_left_to_right"] == report["left_to_right"]["ratio"]
    jsonschema.validate(report, SCHEMA)


def replace_parts(monkeypatch: pytest.MonkeyPatch, **replaced: parts.Part) -> None:
    """Replace all parts but the given ones by parts that return their name."""
    quick = {name: replaced.get(name, lambda plan, name=name: {name: plan.quick}) for name in cli.PARTS}
    monkeypatch.setattr(cli, "PARTS", quick)
    monkeypatch.setattr("palimpsest_bench.tables.tables", lambda figures: [])


def test_without_a_choice_every_part_is_measured(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_parts(monkeypatch)
    report = json.loads(palimpsest("bench", "--quick", "--json").stdout)
    assert {name: report.pop(name) for name in cli.PARTS} == dict.fromkeys(cli.PARTS, True)
    assert set(report) == {"format", "version", "machine", "errors", "took_s"}
    assert set(json.loads(palimpsest("bench", "--only", "typing", "--json").stdout)) == {*report, "typing"}


def broken(plan: parts.Plan) -> dict[str, object]:
    raise RuntimeError("CUDA error: the GPU is gone\nand more")


def refused(plan: parts.Plan) -> dict[str, object]:
    raise PalimpsestError("there is no room for it")


def interrupted(plan: parts.Plan) -> dict[str, object]:
    raise KeyboardInterrupt


def test_the_other_parts_go_on_after_one_fails(
    palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replace_parts(monkeypatch, typing=broken, steps=refused)
    kept = tmp_path / "bench.json"
    result = palimpsest("bench", "--json", "--output", kept)
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["errors"] == {
        "typing": "RuntimeError: CUDA error: the GPU is gone",
        "steps": "there is no room for it",
    }
    assert set(cli.PARTS) - set(report) == {"typing", "steps"}
    assert set(report["took_s"]) == set(cli.PARTS)
    assert json.loads(kept.read_text()) == report
    assert [each.name for each in tmp_path.iterdir()] == ["bench.json"]


def test_a_checkpoint_that_fails_to_load_is_tried_once(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def fail(*given: object) -> None:
        tried.append(given)
        raise PalimpsestError("it is too large")

    monkeypatch.setattr("palimpsest_bench.engine.subject.open_subject", fail)
    result = palimpsest("bench", "--json", "--shape", "26b")
    assert result.exit_code == 1
    assert set(json.loads(result.stdout)["errors"].values()) == {"it is too large"}
    assert len(tried) == 1


def test_measuring_nothing_is_an_error(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_parts(monkeypatch, typing=broken)
    result = palimpsest("bench", "--json", "--only", "typing")
    assert result.exit_code == 1
    assert "typing" in json.loads(result.stdout)["errors"]


def test_a_missing_checkpoint_is_reported_before_anything_is_measured(palimpsest: Palimpsest) -> None:
    result = palimpsest("bench", "--checkpoint", "./no-such-folder")
    assert result.exit_code == 20
    assert result.stdout == ""


@pytest.mark.parametrize("stopped", [interrupted])
def test_an_interrupt_keeps_the_parts_measured_before(
    palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stopped: parts.Part
) -> None:
    replace_parts(monkeypatch, along=stopped)
    result = palimpsest("bench", "--json", "--output", tmp_path / "kept.json")
    report = json.loads(result.stdout)
    assert result.exit_code == 130
    assert report["errors"] == {"along": "interrupted"}
    assert "typing" in report
    assert "share" not in report
    assert json.loads((tmp_path / "kept.json").read_text()) == report


def test_parts_after_the_deadline_report_that_the_time_was_up(
    palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(plan: parts.Plan) -> dict[str, object]:
        monkeypatch.setattr(cli.time, "monotonic", lambda: plan.until + 1)
        return {"keystroke": 1}

    replace_parts(monkeypatch, keystroke=slow)
    report = json.loads(palimpsest("bench", "--json", "--minutes", "5").stdout)
    assert set(report["errors"]) == set(cli.PARTS) - {"keystroke"}
    assert set(report["errors"].values()) == {"the time was up"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shape", "26b-narrow", "--only", "keystroke"], "not with keystroke"),
        (["--from", "a.json", "--quick"], "measures nothing"),
        (["--minutes", "0"], "--minutes"),
    ],
)
def test_options_that_exclude_each_other_are_refused(palimpsest: Palimpsest, arguments: list[str], said: str) -> None:
    result = palimpsest("bench", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, 10), ("{", 40), ("[]", 40), ('{"format": 1}', 40), ('{"format": 2, "machine": ""}', 40)],
)
def test_a_file_that_is_not_ours_is_refused(
    palimpsest: Palimpsest, tmp_path: Path, content: str | None, code: int
) -> None:
    path = tmp_path / "figures.json"
    if content is not None:
        path.write_text(content)
    assert palimpsest("bench", "--from", path).exit_code == code


def test_an_output_that_cannot_be_written_is_reported_at_once(palimpsest: Palimpsest, tmp_path: Path) -> None:
    result = palimpsest("bench", "--only", "overhead", "--output", tmp_path / "no" / "folder.json")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


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
    assert tables.ms(value) == shown


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
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    result = palimpsest("bench", "--only", "overhead", "--plots", tmp_path)
    assert result.exit_code == 1
    assert "palimpsest-ls[bench]" in result.stderr
    assert "measuring" not in result.stderr


def test_a_sized_file_is_python_around_its_middle() -> None:
    for size in (1000, 10_000, 100_000):
        text, lines = real.sized(DOCUMENT, size)
        assert 0.9 * size < len(text) <= size
        assert observe.typing(text, 8, lines)
        assert all(0 <= line < text.count("\n") for line, _ in observe.typing(text, 8, lines))
    assert real.sized(DOCUMENT, 100_000)[1].start > 0


def test_sessions_in_no_language_of_the_checkpoint_are_an_error() -> None:
    with pytest.raises(PalimpsestError, match="cobol"):
        real.sessions(parts.SCRIPTED_SERVER, {}, ["cobol"], 5)


def test_no_other_part_can_be_chosen(palimpsest: Palimpsest) -> None:
    assert palimpsest("bench", "--only", "sleeping").exit_code == 2


@pytest.mark.parametrize("part", cli.PARTS)
def test_every_part_is_on_the_page(part: str) -> None:
    assert f"| `{part}` |" in PAGE


def test_typing_is_measured() -> None:
    assert set(figures.typing(DOCUMENT, 30)) == {"p50", "p95", "p99", "samples"}


def test_a_big_file_is_measured() -> None:
    assert figures.big_file(DOCUMENT, 100_000, 5)["samples"] == 5


def test_typing_along_is_measured() -> None:
    assert figures.along(DOCUMENT, 150)["samples"] >= 150


def test_nothing_to_type_along_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_FORETOLD", "")
    with pytest.raises(PalimpsestError, match="no suggestion to type along"):
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
