"""`palimpsest eval` from its command line, on a tiny random checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from palimpsest_eval import run as running
from palimpsest_eval.results import read
from palimpsest_server.cli import main

TEXT = Path(__file__).read_text("utf-8")


def palimpsest(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["eval", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def options(folder: Path, tmp_path: Path) -> list[object]:
    return ["--model", folder, "--device", "cpu", "--out", tmp_path / "out.json"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    row = {"package": "p", "path": "a.py", "text": TEXT}
    (tmp_path / "corpus" / "held_out.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path / "corpus"


def test_programs_are_filled_and_run(data: Path, options: list[object], tmp_path: Path) -> None:
    result = palimpsest("humaneval", data, "--system", "chosen", "--system", "oracle", *options)
    assert result.exit_code == 0, result.stderr
    assert "not malice" in result.stderr
    assert "| truth | 100.0 (51.0–100.0) |" in result.stdout
    done = read(tmp_path / "out.json")
    assert done.systems == [
        "chosen length",
        "oracle length",
        "oracle length, best of 2",
        "empty",
        "pass",
        "line above",
        "truth",
    ]
    assert {row.passed for row in done.of("truth")} == {True}
    assert {row.passed for row in done.of("empty")} == {False}
    assert done.settings["data"]["sha256"]
    assert done.about["network"]
    again = palimpsest("humaneval", data, "--system", "chosen", "--system", "oracle", *options)
    assert (again.exit_code, again.stdout) == (0, result.stdout)


def test_an_interrupt_keeps_what_is_done(
    data: Path, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palimpsest_server.protocol import transport

    monkeypatch.setattr(transport, "leave", lambda code: code)
    measured, calls = running.measured, iter(range(10))

    def stopping(*arguments: Any) -> Any:
        if next(calls) == 9:
            raise KeyboardInterrupt
        return measured(*arguments)

    monkeypatch.setattr(running, "measured", stopping)
    stopped = palimpsest("humaneval", data, *options)
    assert stopped.exit_code == 130
    assert "9 rows are kept; the same command goes on" in stopped.stderr
    monkeypatch.setattr(running, "measured", measured)
    assert palimpsest("humaneval", data, *options).exit_code == 0
    assert len(read(tmp_path / "out.json").rows) == 4 * 5


def test_lines_with_a_wrong_word_are_touched_up(data: Path, options: list[object], tmp_path: Path) -> None:
    result = palimpsest("touch-up", data, "--strength", "0.3", "--strength", "0.6", *options)
    assert result.exit_code == 0, result.stderr
    done = read(tmp_path / "out.json")
    assert done.systems == ["strength 0.3", "strength 0.6", "as it stands", "truth"]
    assert {row.exact for row in done.of("as it stands")} == {False}
    assert {row.exact for row in done.of("truth")} == {True}
    assert {row.kind for row in done.of("strength 0.3")} == {"wrong word"}


def test_any_data_file(data: Path, options: list[object], tmp_path: Path) -> None:
    data.write_text(json.dumps({"task_id": 1, "prompt": "x = ", "suffix": "\n"}) + "\n")
    result = palimpsest("problems", data, *options)
    assert result.exit_code == 0, result.stderr
    assert "malice" not in result.stderr
    assert read(tmp_path / "out.json").systems == ["chosen length", "empty", "pass", "line above"]
    (tmp_path / "out.json").unlink()
    oracle = palimpsest("problems", data, "--system", "oracle", *options)
    assert (oracle.exit_code, "lacks the true text" in oracle.stderr) == (40, True)


@pytest.mark.parametrize("short", [[], ["--short"]])
def test_held_out_holes(corpus: Path, options: list[object], tmp_path: Path, short: list[str]) -> None:
    result = palimpsest("held-out", "--corpus", corpus, "--count", 6, *short, *options)
    assert result.exit_code == 0, result.stderr
    rows = read(tmp_path / "out.json").rows
    assert len(rows) == 6 * 5
    kinds = {"span", "rest of line", "line"} | (set() if short else {"block"})
    assert {row.kind for row in rows} == kinds
    assert {row.exact for row in rows if row.system == "truth"} == {True}


def test_a_profile_is_measured_as_the_description_has_it(folder: Path, corpus: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for path in folder.iterdir():
        (own / path.name).symlink_to(path)
    described = json.loads((folder / "palimpsest.json").read_text("utf-8")) | {"profiles": {"fast": {"max_steps": 1}}}
    (own / "palimpsest.json").unlink()
    (own / "palimpsest.json").write_text(json.dumps(described), "utf-8")
    steps = {}
    for profile in ("fast", "balanced", "thorough"):
        out = tmp_path / f"{profile}.json"
        options = ["--model", own, "--device", "cpu", "--profile", profile, "--out", out]
        assert palimpsest("held-out", "--corpus", corpus, "--count", 2, *options).exit_code == 0
        steps[profile] = read(out).settings["checkpoint"]["spec"]["sampling"]["max_steps"]
    assert steps == {"fast": 1, "balanced": 2, "thorough": 2}


def test_a_sweep_and_a_report_of_it(corpus: Path, data: Path, options: list[object], tmp_path: Path) -> None:
    axes = ["--set", "max_steps=1,2", "--set", "pins=4"]
    result = palimpsest("sweep", "--corpus", corpus, "--count", 4, "--seeds", 2, *axes, *options)
    assert result.exit_code == 0, result.stderr
    done = read(tmp_path / "out.json")
    assert done.systems[:3] == ["as it is", "max_steps 1, pins 4", "max_steps 2, pins 4"]
    assert len(done.of("as it is")) == 8
    tested = tmp_path / "tested.json"
    assert palimpsest("sweep", data, "--limit", 2, *options, "--out", tested).exit_code == 0
    page = tmp_path / "docs.md"
    page.write_text("<!-- results -->\n<!-- /results -->\n")
    reported = palimpsest("report", tmp_path / "out.json", tested, "--out", tmp_path / "docs", "--no-plots")
    assert reported.exit_code == 0, reported.stderr
    assert "Held-out packages, 4 problems, 2 seeds: sampling settings" in page.read_text()
    assert "sums, 2 problems: sampling settings" in page.read_text()


def test_a_control_goes_left_to_right_unless_told_otherwise(
    control: Path, data: Path, options: list[object], tmp_path: Path
) -> None:
    assert palimpsest("humaneval", data, *options, "--model", control).exit_code == 0
    assert read(tmp_path / "out.json").systems[0] == "left to right"
    wrong = palimpsest("humaneval", data, "--system", "chosen", *options, "--model", control)
    assert (wrong.exit_code, "left-to-right control" in wrong.stderr) == (2, True)


def bad(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_bad_input_is_one_sentence(data: Path, options: list[object], tmp_path: Path) -> None:
    no_test = bad(tmp_path / "a", '{"task_id": 1, "prompt": "", "suffix": ""}\n')
    cases: list[tuple[int, str, list[object]]] = [
        (10, "there is no file", ["humaneval", tmp_path / "nowhere", *options]),
        (40, "not a gzip file", ["humaneval", bad(tmp_path / "b.gz", "x"), *options]),
        (40, "line 1: there is no suffix", ["problems", bad(tmp_path / "c", '{"task_id": 1, "prompt": ""}'), *options]),
        (40, "no test", ["humaneval", no_test, *options]),
        (10, "no corpus", ["held-out", "--corpus", tmp_path / "nowhere", *options]),
        (10, "no folder", ["humaneval", data, *options, "--out", tmp_path / "no" / "out.json"]),
        (20, "no checkpoint folder and no GGUF file", ["humaneval", data, *options, "--model", tmp_path / "no"]),
        (40, "is not KEY=VALUE", ["sweep", data, "--set", "speed=9", *options]),
        (40, "max_steps cannot be 0", ["sweep", data, "--set", "max_steps=0", *options]),
        (10, "there is no file", ["report", tmp_path / "nowhere"]),
        (40, "is not a results file of", ["report", no_test]),
    ]
    for code, sentence, arguments in cases:
        result = palimpsest(*arguments)
        assert (result.exit_code, sentence in result.stderr) == (code, True), (arguments, result.stderr)
        assert result.stderr.count("\n") == 1, result.stderr
        assert not (tmp_path / "out.json").exists()
    for arguments in (["sweep", *options], ["held-out", "--short", "--kind", "span", *options]):
        assert palimpsest(*arguments).exit_code == 2
