"""Holes cut from documents: of the kind they say, the same for the same seed, and never twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_eval.held_out import KINDS, Document, documents, problems

TEXTS = [Path(__file__).read_text("utf-8"), Path(__file__).with_name("test_execute.py").read_text("utf-8")]
DOCUMENTS = [Document("one", "a.py", TEXTS[0]), Document("two", "b.py", TEXTS[1]), Document("two", "c.js", TEXTS[0])]


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_each_hole_is_of_its_kind(seed: int) -> None:
    found = list(problems(DOCUMENTS, 16, seed))
    assert len({problem.task_id for problem in found}) == 16
    assert [problem.kind for problem in found] == list(KINDS) * 4
    for problem in found:
        assert problem.filled(problem.truth) in TEXTS
        truth, line = problem.truth, problem.prompt.rpartition("\n")[2]
        assert truth.strip()
        assert not truth.startswith("#")
        assert not line.lstrip().startswith("#")
        ends = problem.suffix.startswith("\n") or not problem.suffix
        match problem.kind:
            case "span":
                assert "\n" not in truth
                assert truth == truth.strip()
            case "rest of line":
                assert "\n" not in truth
                assert ends
            case "line":
                assert "\n" not in truth
                assert ends
                assert not line.strip()
                assert not truth[0].isspace()
            case _:
                assert 2 <= len(truth.split("\n")) <= 5
                assert ends
                assert not line.strip()
                assert truth.split("\n")[-1].strip()


def test_the_same_seed_gives_the_same_holes_and_more_begin_with_fewer() -> None:
    assert list(problems(DOCUMENTS, 12, 3)) == list(problems(DOCUMENTS, 12, 3))
    assert list(problems(DOCUMENTS, 12, 3))[:8] == list(problems(DOCUMENTS, 8, 3))
    assert list(problems(DOCUMENTS, 12, 3)) != list(problems(DOCUMENTS, 12, 4))


def test_a_package_counts_once_however_large() -> None:
    crowd = [Document("one", "a.py", TEXTS[0]), *(Document("many", f"{i}.py", TEXTS[1]) for i in range(50))]
    found = list(problems(crowd, 120, 1))
    assert 30 < sum(problem.task_id.startswith("one/") for problem in found) < 90


def test_the_language_is_the_files() -> None:
    languages = {p.task_id.split(":")[0]: p.language for p in problems(DOCUMENTS, 40, 1)}
    assert languages == {"one/a.py": "python", "two/b.py": "python", "two/c.js": "javascript"}


def test_one_kind_only() -> None:
    assert {problem.kind for problem in problems(DOCUMENTS, 5, 1, ("block",))} == {"block"}


def test_documents_that_have_no_more_holes() -> None:
    with pytest.raises(DataError, match="do not have 3 different holes"):
        list(problems([Document("x", "x.py", "x = 1\n")], 3, 0, ("line",)))


def test_reading_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(DocumentMissing, match=r"no corpus .*held_out\.jsonl"):
        documents(tmp_path)
    path = tmp_path / "held_out.jsonl"
    for row in ("{}", "[]", '{"text": 1}', "x", '{"text": "\\ud800"}'):
        path.write_text(json.dumps({"text": "x", "package": "p", "path": "q.go"}) + "\n" + row + "\n")
        with pytest.raises(DataError, match="line 2"):
            documents(tmp_path)
    path.write_text(json.dumps({"text": "x", "package": "p", "path": "q.go"}) + "\n")
    assert documents(tmp_path) == [Document("p", "q.go", "x")]
    path.write_text("")
    with pytest.raises(DataError, match="no documents"):
        documents(tmp_path)
