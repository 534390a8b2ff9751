"""Data files: the meaning of a row, and the errors for broken ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_eval.problems import Problem, read

from .conftest import ROWS


def written(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def test_a_line_of_its_own_ends_where_the_suffix_begins(problems: list[Problem]) -> None:
    problem = problems[1]
    assert problem.prompt.endswith("c = 1\n")
    assert (problem.truth, problem.suffix) == ("    d = a + b", "\n    return c + d\n")
    assert (problem.kind, problem.one_line, problem.language) == ("line", True, "python")
    program = problem.program("    d = a + b")
    assert program.startswith("def add_1(a, b):\n    c = 1\n    d = a + b\n    return c + d\n")
    assert program.endswith("check(add_1)\n")
    exec(program, {})


def test_the_request_to_the_engine(problems: list[Problem]) -> None:
    request = problems[0].request(7)
    assert request.splice((problems[0].truth or "",)) == problems[0].filled(problems[0].truth or "")
    assert (request.max_lines, request.tidy, request.seed, request.language) == (1, True, 7, "python")
    plain = problems[0].request(7, as_users=False, sizes=(8,))
    assert (plain.max_lines, plain.tidy, plain.sizes) == (None, False, (8,))


@given(st.text("ab\n ", max_size=12), st.text("ab\n ", max_size=12), st.text("ab\n ", max_size=12))
def test_moving_the_line_end_keeps_the_text(tmp_path_factory, prompt, truth, suffix) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    row = {"task_id": 1, "prompt": prompt, "suffix": suffix, "canonical_solution": truth}
    (problem,) = read(written(path, row))
    assert problem.filled(problem.truth or "") == prompt + truth + suffix
    assert problem.prompt == prompt
    assert problem.one_line == ("\n" not in (problem.truth or ""))
    if problem.kind == "insertion":
        assert problem.suffix == suffix


def test_rows_without_a_truth_are_insertions(tmp_path: Path) -> None:
    (problem,) = read(written(tmp_path / "a", {"task_id": 3, "prompt": "x = ", "suffix": "\n", "language": "go"}))
    assert problem == Problem("3", "x = ", "\n", language="go")
    assert problem.request(0).max_lines is None


def test_gzip_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" + b"\n\n".join(json.dumps(row).encode() for row in ROWS) + b"\n"))
    assert [problem.task_id for problem in read(path)] == [row["task_id"] for row in ROWS]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"{", "not JSON"),
        (b"[]", "expected an object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"prompt": "", "suffix": ""}', "task_id"),
        (b'{"task_id": true, "prompt": "", "suffix": ""}', "task_id"),
        (b'{"task_id": 1, "suffix": ""}', "there is no prompt"),
        (b'{"task_id": 1, "prompt": ""}', "there is no suffix"),
        (b'{"task_id": 1, "prompt": 2, "suffix": ""}', "the prompt is not a string"),
        (b'{"task_id": 1, "prompt": "", "suffix": "", "canonical_solution": 3}', "canonical_solution is not a string"),
        (b'{"task_id": 1, "prompt": "", "suffix": "", "test": "x"}', "entry_point"),
        (b'{"task_id": "Sum/0", "prompt": "", "suffix": ""}', "already on line 1"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: bytes, fault: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(ROWS[0]).encode() + b"\n\n" + row + b"\n")
    with pytest.raises(DataError, match="line 3") as told:
        list(read(path))
    assert fault in str(told.value)
    assert "\n" not in str(told.value)


def test_no_file_no_gzip_no_rows(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DocumentMissing):
            list(read(path))
    named = written(tmp_path / "rows.jsonl.gz", ROWS[0])
    with pytest.raises(DataError, match="is not a gzip file"):
        list(read(named))
    named.write_bytes(gzip.compress(b"x" * 1000)[:-12])
    with pytest.raises(DataError, match="damaged gzip"):
        list(read(named))
    with pytest.raises(DataError, match="no problems"):
        list(read(written(tmp_path / "empty")))
