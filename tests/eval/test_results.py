"""Rows on disk: no row is lost or measured twice, and rows of other runs stay out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_eval import results
from palimpsest_eval.problems import Problem
from palimpsest_eval.results import Journal, Results, read
from palimpsest_eval.run import WARMING_SEED, evaluate
from palimpsest_eval.systems import Answer

SETTINGS = {"experiment": "systems", "seeds": [0], "commit": "abc"}
ABOUT = {"date": "2030-01-01"}


@dataclass
class Scripted:
    """Answers with its name and the seed, and notes the problems."""

    name: str
    asked: list[tuple[str, int]] = field(default_factory=list)
    stop_after: int = 10**9

    def fill(self, problem: Problem, seed: int) -> Answer:
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append((problem.task_id, seed))
        return Answer(f"{self.name} {seed}", ms=float(seed), nfe=2, candidates=("x",))


def stable(rows: tuple[results.ResultRow, ...]) -> list[results.ResultRow]:
    return sorted((replace(row, ms=0.0) for row in rows), key=lambda row: (row.system, row.task, row.seed))


def run(out: Path, problems: list[Problem], *systems: Scripted, seeds: tuple[int, ...] = (0,)) -> Results:
    with Journal(out, SETTINGS, ABOUT) as journal:
        evaluate(problems, systems, journal, None, seeds)
        return journal.finish()


def test_every_problem_once_through_every_system(tmp_path: Path, problems: list[Problem]) -> None:
    one, two = Scripted("one"), Scripted("two")
    done = run(tmp_path / "out.json", problems, one, two, seeds=(0, 5))
    # A warming fill, then each problem with noise of its own for each seed.
    assert one.asked[0] == (problems[0].task_id, WARMING_SEED)
    assert one.asked[1:] == [(p.task_id, seed * 4 + i) for i, p in enumerate(problems) for seed in (0, 5)]
    assert len(done.rows) == 16
    assert done.systems == ["one", "two"]
    assert [path.name for path in tmp_path.iterdir() if path.name != "sums.jsonl"] == ["out.json"]
    assert read(tmp_path / "out.json") == done


def test_a_stopped_run_resumes(tmp_path: Path, problems: list[Problem]) -> None:
    out = tmp_path / "out.json"
    whole = run(tmp_path / "whole.json", problems, Scripted("one"), Scripted("two"))
    with pytest.raises(KeyboardInterrupt):
        run(out, problems, Scripted("one"), Scripted("two", stop_after=3))
    assert not out.exists()
    one, two = Scripted("one"), Scripted("two")
    assert stable(run(out, problems, one, two).rows) == stable(whole.rows)
    assert len([asked for asked in one.asked if asked[1] != WARMING_SEED]) == 1
    again = Scripted("one"), Scripted("two")
    assert stable(run(out, problems, *again).rows) == stable(whole.rows)
    assert [system.asked for system in again] == [[], []]


def test_a_run_killed_at_any_byte_resumes(tmp_path: Path, problems: list[Problem]) -> None:
    whole = run(tmp_path / "whole.json", problems[:2], Scripted("one"))
    out = tmp_path / "out.json"
    journal = out.with_name("out.json.rows.jsonl")
    with pytest.raises(KeyboardInterrupt):
        run(out, problems[:2], Scripted("one", stop_after=2))
    data = journal.read_bytes()
    head = data.index(b"\n") + 1
    for size in range(head, len(data), 7):
        journal.write_bytes(data[:size])
        assert stable(run(out, problems[:2], Scripted("one")).rows) == stable(whole.rows)
        out.unlink()


def test_a_run_killed_before_its_first_row_is_reported(tmp_path: Path) -> None:
    journal = tmp_path / "out.json.rows.jsonl"
    for torn in (b"", b"x", b'{"settings"', b"[]\n", b"{}\n", b'{"settings": {}}\n{"no": "row"}\n'):
        journal.write_bytes(torn)
        with pytest.raises(DataError, match="remove it"):
            Journal(tmp_path / "out.json", SETTINGS, ABOUT)
        assert journal.read_bytes() == torn


@pytest.mark.parametrize("finish", [False, True])
def test_another_run_is_not_mixed_in(tmp_path: Path, problems: list[Problem], finish: bool) -> None:
    out = tmp_path / "out.json"
    if finish:
        run(out, problems, Scripted("one"))
    else:
        with pytest.raises(KeyboardInterrupt):
            run(out, problems, Scripted("one", stop_after=3))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match=r"other settings \(commit, seeds\)"):
        Journal(out, {**SETTINGS, "commit": "def", "seeds": [1]}, ABOUT)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_is_not_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentMissing):
        read(tmp_path / "nowhere.json")
    with pytest.raises(DocumentMissing, match="no folder"):
        Journal(tmp_path / "no" / "out.json", SETTINGS, ABOUT)
    path = tmp_path / "out.json"
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 1, "settings": {}, "about": {}, "rows": [{"x": 1}]}'):
        path.write_text(text)
        with pytest.raises(DataError, match="not a results file"):
            read(path)
    path.write_text('{"format": 99}')
    with pytest.raises(DataError, match="format 99"):
        read(path)


def test_results_name_their_origin(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    described = results.described(checkpoint)
    assert described["name"] == "tiny"
    assert len(described["sha256"]) == 64
    assert described["spec"]["sampling"]["max_steps"] == 2
    about = results.about(["eval", "humaneval", "/home/me/a file.gz", "--out=/tmp/out.json", "--corpus", "a/corpus"])
    assert about["command"] == "palimpsest eval humaneval 'a file.gz' --out=out.json --corpus a/corpus"
    assert about["machine"]["cores"] >= 1
    assert json.loads(json.dumps(about)) == about
    assert results.commit()


def test_outside_a_repository_the_version_stands_for_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **named: object) -> Callable[..., None]:
        raise FileNotFoundError

    monkeypatch.setattr(results.subprocess, "run", missing)
    assert results.commit().startswith("version ")
