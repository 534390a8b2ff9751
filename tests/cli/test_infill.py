from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import OutOfMemory
from palimpsest_server.cli import infill

from .conftest import Palimpsest

ROWS = [
    {"task_id": "a/1", "prompt": "def f():\n", "suffix": "\n", "more": 1},
    {"task_id": 2, "prompt": "😀", "suffix": ""},
    {"task_id": "ü", "prompt": "", "suffix": "x"},
]


def lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def told(path: Path) -> list[Any]:
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [{key: value for key, value in row.items() if key != "ms"} for row in rows]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines(ROWS))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_every_row_is_completed_once(palimpsest: Palimpsest, data: Path, out: Path) -> None:
    palimpsest.script_settings = {"steps": 2}
    palimpsest.script = ["one", "two", ""]
    for _ in range(2):
        result = palimpsest("infill", "--data", data, "--out", out)
        assert (result.exit_code, result.stdout) == (0, "")
        assert told(out) == [
            {"task_id": "a/1", "completion": "one", "nfe": 2},
            {"task_id": 2, "completion": "two", "nfe": 2},
            {"task_id": "ü", "completion": "", "nfe": 2},
        ]
    assert [engine.started for engine in palimpsest.engines] == [3, 0]
    assert all(
        list(json.loads(line)) == ["task_id", "completion", "nfe", "ms"] for line in out.read_bytes().splitlines()
    )


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda raw: gzip.compress(raw), id="gzip"),
        pytest.param(lambda raw: raw.rstrip(b"\n"), id="no final newline"),
        pytest.param(lambda raw: raw.replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(lambda raw: raw.replace(b"\n", b"\n\n  \n"), id="blank lines"),
    ],
)
def test_data_comes_in_many_ways(palimpsest: Palimpsest, data: Path, out: Path, make: Any) -> None:
    data.write_bytes(make(lines(ROWS)))
    assert palimpsest("infill", "--data", data, "--out", out).exit_code == 0
    assert [row["task_id"] for row in told(out)] == ["a/1", 2, "ü"]


def test_limit_takes_the_first_rows(palimpsest: Palimpsest, data: Path, out: Path) -> None:
    assert palimpsest("infill", "--data", data, "--out", out, "--limit", 1).exit_code == 0
    assert [row["task_id"] for row in told(out)] == ["a/1"]
    assert palimpsest("infill", "--data", data, "--out", out, "--limit", 2).exit_code == 0
    assert [row["task_id"] for row in told(out)] == ["a/1", 2]


def test_the_hole_is_between_prompt_and_suffix() -> None:
    request = infill._request(infill.Task("a", "x = ", "\ny"), "python", 3, (8,))
    assert request.splice(("1",)) == "x = 1\ny"
    assert (request.language, request.seed, request.sizes) == ("python", 3, (8,))
    assert infill._request(infill.Task("a", "", ""), "none", 0, None).language is None


def test_a_run_killed_at_any_byte_resumes_to_the_same_result(palimpsest: Palimpsest, data: Path, out: Path) -> None:
    palimpsest("infill", "--data", data, "--out", out)
    whole, expected = out.read_bytes(), told(out)
    for size in range(len(whole)):
        out.write_bytes(whole[:size])
        result = palimpsest("infill", "--data", data, "--out", out)
        assert result.exit_code == 0, (size, result.stderr)
        assert told(out) == expected
        # Rows that were whole were not computed again, nor was one that lacked its line end alone.
        kept = (whole[:size] + b"\n").count(b"}\n")
        assert palimpsest.engines[-1].started == len(ROWS) - kept


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"{", "not JSON in UTF-8"),
        (b'{"task_id": "\xff", "prompt": "", "suffix": ""}', "not JSON in UTF-8"),
        (b"[]", "expected an object, not list"),
        (b'{"prompt": "", "suffix": ""}', "there is no task_id"),
        (b'{"task_id": "x", "suffix": ""}', "there is no prompt"),
        (b'{"task_id": "x", "prompt": ""}', "there is no suffix"),
        (b'{"task_id": null, "prompt": "", "suffix": ""}', "neither a string nor a whole number"),
        (b'{"task_id": true, "prompt": "", "suffix": ""}', "neither a string nor a whole number"),
        (b'{"task_id": "x", "prompt": 1, "suffix": ""}', "the prompt is not a string"),
        (b'{"task_id": "x", "prompt": "", "suffix": "\\ud83d"}', "the suffix has half a surrogate pair"),
        (b'{"task_id": "a/1", "prompt": "", "suffix": ""}', "already on line 1"),
        (b"[" * 100_000, "not JSON in UTF-8"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_lost(
    palimpsest: Palimpsest, data: Path, out: Path, row: bytes, fault: str
) -> None:
    palimpsest("infill", "--data", data, "--out", out, "--limit", 1)
    before = out.read_bytes()
    data.write_bytes(lines(ROWS[:1]) + b"\n" + row + b"\n" + lines(ROWS[1:]))
    result = palimpsest("infill", "--data", data, "--out", out)
    assert result.exit_code == 40
    assert result.stderr.startswith(f"palimpsest: {data} line 3: ")
    assert fault in result.stderr
    assert result.stderr.count("\n") == 1
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        b"my thesis, of which there is no copy",
        b"a\nb\n",
        lines(ROWS),
        b"\n" + lines([{"task_id": 1, "completion": "x"}]) + b"x",
        b'{"task_id": 1}',
    ],
)
def test_a_file_that_is_not_a_result_is_left_alone(palimpsest: Palimpsest, data: Path, out: Path, other: bytes) -> None:
    out.write_bytes(other)
    result = palimpsest("infill", "--data", data, "--out", out)
    assert result.exit_code == 40
    assert out.read_bytes() == other
    assert palimpsest.opened == []


def test_damaged_gzip_is_reported(palimpsest: Palimpsest, data: Path, out: Path) -> None:
    data.write_bytes(gzip.compress(lines(ROWS))[:-9])
    result = palimpsest("infill", "--data", data, "--out", out)
    assert (result.exit_code, out.exists()) == (40, False)
    assert "damaged gzip" in result.stderr


def test_no_data_file(palimpsest: Palimpsest, tmp_path: Path, out: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        assert palimpsest("infill", "--data", path, "--out", out).exit_code == 10


def test_rows_done_before_an_error_stay(palimpsest: Palimpsest, data: Path, out: Path) -> None:
    palimpsest("infill", "--data", data, "--out", out, "--limit", 2)
    palimpsest.script_settings = {"error": OutOfMemory("too much")}
    result = palimpsest("infill", "--data", data, "--out", out)
    assert result.exit_code == 30
    assert result.stderr.endswith("palimpsest: too much\n")
    assert len(told(out)) == 2


@given(st.binary(max_size=40))
def test_no_whole_row_of_any_file_is_lost(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    from palimpsest_engine.errors import DataError

    path = tmp_path_factory.mktemp("out") / "out.jsonl"
    head = lines([{"task_id": 1, "completion": "x"}])
    path.write_bytes(head + tail)
    try:
        assert 1 in infill.mend(path)
    except DataError:
        assert path.read_bytes() == head + tail
    assert path.read_bytes().startswith(head)
