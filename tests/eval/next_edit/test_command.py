"""`palimpsest eval next-edit` from its command line, and the cases that come with the project."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from palimpsest_engine.request import Span
from palimpsest_engine.syntax.gate import SyntaxGate
from palimpsest_eval.next_edit.cases import Case, read
from palimpsest_eval.next_edit.judging import applied, judged
from palimpsest_server.cli import main

FIXTURES = Path(__file__).parents[3] / "fixtures" / "next-edit"


def palimpsest(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["eval", "next-edit", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case for name in ("tune", "test") for case in read(FIXTURES / f"{name}.jsonl")]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_next_edit", FIXTURES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cases_are_as_the_recipes_make_them(generator: ModuleType) -> None:
    made = {case["id"]: case for language in generator.LANGUAGES for case in generator.of_language(language)}
    files = [FIXTURES / f"{name}.jsonl" for name in ("tune", "test")]
    kept = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
    assert {case["id"]: case for case in kept} == made


def test_half_of_the_cases_of_each_language_are_loud(cases: list[Case]) -> None:
    counted = Counter((case.language, case.loud) for case in cases)
    assert set(counted.values()) == {10}
    assert len(counted) == 12
    assert all(bool(case.due) == case.loud for case in cases)


def test_changes_stand_in_the_documents_and_due_edits_are_right(cases: list[Case]) -> None:
    for case in cases:
        texts = {document.name: document.text for document in case.documents}
        for change in case.changes:
            assert change.start is None or texts[change.document].startswith(change.after, change.start), case.id
        for number, due in enumerate(case.due):
            for option in due:
                edit = _offered(option.document, option.span, option.text)
                assert judged(case.documents, case.due, edit).done == (number,), case.id


def test_documents_are_sound_before_and_after_what_is_due(cases: list[Case]) -> None:
    for case in cases:
        for document in case.documents:
            options = [due[0] for due in case.due if due[0].document == document.name]
            whole = Span(0, len(document.text))
            verdict = SyntaxGate(document.text, (whole,), case.language).judge((applied(document.text, options),))
            assert verdict.status == "valid" or case.kind == "half typed", (case.id, document.name, verdict)


def test_a_command_measures_cases_and_scenarios(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text("".join((FIXTURES / "tune.jsonl").read_text("utf-8").splitlines(True)[:4]))
    header = "id: q\nlanguage: python\nfile: a.py\nrow: 1\ncol: 0\n"
    (tmp_path / "q.txtar").write_text(f"{header}-- buffer.txt --\na = 1\n-- steps --\nrequest-completion\n")
    result = palimpsest(tmp_path / "cases.jsonl", "--cursortab", tmp_path, "--out", tmp_path / "out.json")
    assert result.exit_code == 0, result.stderr
    assert "| `medium` |" in result.stdout
    assert "one after the other" in result.stdout
    out = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert out["rows"][0]["id"] == "python-rename-local"
    assert out["settings"]["data"][0]["sha256"]
    assert out["cursortab"]["`low`, the first edit"]["quiet_rate"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "name a file of cases", id="nothing to measure"),
        pytest.param(["missing.jsonl"], "there is no file missing.jsonl", id="no such file"),
        pytest.param([FIXTURES / "README.md"], "has no cases", id="another file"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: list[object], said: str) -> None:
    result = palimpsest(*arguments, "--out", tmp_path / "out.json")
    assert result.exit_code
    assert said in result.stderr


def _offered(document: str, span: Span, text: str) -> object:
    from palimpsest_engine.changes import NextEdit

    return NextEdit(document, span, text, "rename", "due")
