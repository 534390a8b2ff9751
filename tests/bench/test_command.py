"""`palimpsest bench` from its command line: parts, options, files and errors."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from palimpsest_bench import cli, parts
from palimpsest_bench.plan import Plan
from palimpsest_bench.server import real, replay
from palimpsest_engine import PalimpsestError

from .conftest import PAGE, SCHEMA, Palimpsest


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
    monkeypatch.setattr(Plan, "lengths", [16, 64])
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


def broken(plan: Plan) -> dict[str, object]:
    raise RuntimeError("CUDA error: the GPU is gone\nand more")


def refused(plan: Plan) -> dict[str, object]:
    raise PalimpsestError("there is no room for it")


def interrupted(plan: Plan) -> dict[str, object]:
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
    result = palimpsest("bench", "--model", "./no-such-folder")
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
    def slow(plan: Plan) -> dict[str, object]:
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


def test_no_other_part_can_be_chosen(palimpsest: Palimpsest) -> None:
    assert palimpsest("bench", "--only", "sleeping").exit_code == 2


@pytest.mark.parametrize("part", cli.PARTS)
def test_every_part_is_on_the_page(part: str) -> None:
    assert f"| `{part}` |" in PAGE
