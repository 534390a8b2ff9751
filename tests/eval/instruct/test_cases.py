"""The cases in fixtures/instruct: each check tells a right replacement from none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_engine.syntax.gate import SyntaxGate
from palimpsest_eval.instruct import open_set
from palimpsest_eval.instruct.cases import Case, choosing, read
from palimpsest_eval.instruct.programs import NEEDS, Programs

FOLDER = Path(__file__).parents[3] / "fixtures" / "instruct"
CASES = [case for file in sorted(FOLDER.glob("*.toml")) for case in read(file)]
GOOD = """
[[case]]
name = "a"
kind = "rename"
instruction = "rename x to y"
before = ""
selection = "x = 1\\n"
after = ""
reference = "y = 1\\n"
check = "assert y == 1"
"""


@pytest.fixture(scope="module")
def programs():
    with Programs() as programs:
        yield programs


def right(programs: Programs, case: Case, replacement: str) -> bool:
    return case.says(replacement) and programs.passes(case.language, case.program(replacement))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.language}-{case.name}")
def test_the_reference_is_right_and_the_present_text_is_not(programs, case):
    needed = NEEDS.get(case.language)
    if needed and shutil.which(needed) is None:
        pytest.skip(f"{needed} is not on this machine")
    assert case.selection.endswith("\n")
    assert case.reference.endswith("\n")
    assert right(programs, case, case.reference)
    assert not right(programs, case, case.selection)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.language}-{case.name}")
def test_the_syntax_check_passes_the_reference(case):
    request = case.request()
    gate = SyntaxGate(request.text, request.holes, case.language)
    assert gate.judge((case.reference,)).status != "worse"


def test_a_file_of_cases_is_read(tmp_path):
    (tmp_path / "python.toml").write_text(GOOD)
    (case,) = read(tmp_path / "python.toml")
    assert case.request().text == "x = 1\n"
    assert case.request().instruction == "rename x to y"


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("python.toml", None, DocumentMissing),
        ("cobol.toml", GOOD, DataError),
        ("python.toml", "[[case", DataError),
        ("python.toml", "case = 3", DataError),
        ("python.toml", GOOD.replace("check", "chekc"), DataError),
        ("python.toml", GOOD + GOOD, DataError),
    ],
)
def test_another_form_is_refused(tmp_path, name, text, error):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error):
        read(tmp_path / name)


def test_the_halves_have_as_many_cases_of_each_kind():
    chosen = choosing(CASES)
    assert chosen == choosing(reversed(CASES))
    assert len(chosen) * 2 == len(CASES)
    for language in ("python", "javascript", "c"):
        kinds = [case.kind for case in CASES if case.language == language]
        for kind in set(kinds):
            half = sum(
                case.kind == kind and (language, case.name) in chosen for case in CASES if case.language == language
            )
            assert abs(2 * half - kinds.count(kind)) <= 1


ROW = {"before": "x = 1\n", "after": "y = 1\n", "tests": "assert y == 1", "instruction": "rename x to y"}


def test_a_row_of_a_set_is_a_case(tmp_path):
    (tmp_path / "set.jsonl").write_text(json.dumps(ROW) + "\n")
    (case,) = open_set.read(tmp_path / "set.jsonl")
    assert case.request().text == case.selection == "x = 1\n"
    assert (case.instruction, case.reference, case.language) == ("rename x to y", "y = 1\n", "python")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, DocumentMissing),
        ("{", DataError),
        ("[]", DataError),
        (json.dumps(ROW | {"tests": 3}), DataError),
        (json.dumps(ROW | {"language": "cobol"}), DataError),
        (json.dumps({key: text for key, text in ROW.items() if key != "instruction"}), DataError),
    ],
)
def test_another_form_of_a_set_is_refused(tmp_path, text, error):
    if text is not None:
        (tmp_path / "set.jsonl").write_text(text)
    with pytest.raises(error):
        open_set.read(tmp_path / "set.jsonl")
