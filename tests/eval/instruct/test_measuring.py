"""Rows and tables say what became of each case."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from click.testing import CliRunner

from palimpsest_engine import EngineStatus
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_eval.instruct import tables
from palimpsest_eval.instruct.cases import Case
from palimpsest_eval.instruct.measuring import changed, measured, untidy
from palimpsest_eval.instruct.programs import Programs
from palimpsest_server.cli import main

CASE = Case(
    "double",
    "python",
    "behaviour",
    "return twice as much",
    "import math\n\n\n",
    "def f(x):\n    return x\n",
    "\n\ny = f(2)\n",
    "def f(x):\n    return 2 * x\n",
    "assert y == 4",
)


@pytest.mark.parametrize(
    ("text", "right", "surplus"),
    [
        ("def f(x):\n    return 2 * x\n", True, 0),
        ("def f(x):\n    return x + x\n", True, 0),
        ("def f(number):\n    return 2 * number\n", True, 2),
        ("def f(x):\n    return x\n", False, 0),
        ("def f(x):\n    return 3 * x\n", False, 0),
        ("", False, None),
    ],
)
def test_a_replacement_is_right_if_its_program_passes(text, right, surplus):
    with Programs() as programs:
        (row,) = measured([CASE], ScriptedEngine([text]), programs)
    assert (row.offered, row.right, row.surplus) == (bool(text), right, surplus)


def test_texts_count_where_running_cannot_tell():
    case = replace(CASE, check="", has=(r'"""',), lacks=("TODO",))
    assert case.says('"""Do."""\n')
    assert not case.says("# Do.\n")
    assert not case.says('"""TODO"""\n')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x):\n    return 2 * x\n", False),
        ("```python\ndef f(x):\n    return 2 * x\n```\n", True),
        ("Here is the code:\ndef f(x): ...\n", True),
        ("import math\n\ndef f(x):\n    return 2 * x\n", True),
        ("def f(x):\n    return 2 * x\n\ny = f(2)\n", True),
    ],
)
def test_fences_prose_and_repetitions_are_counted(text, expected):
    assert untidy(CASE, text) is expected


def test_changed_lines_are_those_that_went_and_those_that_came():
    assert changed("a\nb\n", "a\nc\n") == 2
    assert changed("a\n", "a\n") == 0


@pytest.mark.parametrize(
    ("language", "program", "passes"),
    [
        ("python", "assert 1", True),
        ("python", "assert 0", False),
        ("javascript", "if (1 + 1 !== 2) throw new Error()", True),
        ("javascript", "throw new Error()", False),
        ("javascript", "for (;;) {}", False),
        ("c", "int main(void) { return 0; }", True),
        ("c", "int main(void) { return 1; }", False),
        ("c", "int main(void) { retur 0; }", False),
    ],
)
def test_programs_run_in_their_language(language, program, passes):
    from palimpsest_eval.instruct.programs import missing

    if missing(language):
        pytest.skip(f"{missing(language)} is not on this machine")
    with Programs() as programs:
        assert programs.passes(language, program) is passes


class Instructed(ScriptedEngine):
    """Says that it follows instructions."""

    def status(self):
        return EngineStatus("ready", model="scripted", instructs=True)


def test_the_command_writes_results_and_a_table(tmp_path):
    fields = asdict(CASE)
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items() if key != "language"]
    (tmp_path / "python.toml").write_text("[[case]]\n" + "\n".join(lines) + "\n")
    arguments = ["eval", "instruct", str(tmp_path / "python.toml"), "--out", str(tmp_path / "out.json")]
    result = CliRunner().invoke(main, arguments, obj=lambda _: Instructed([CASE.reference]))
    assert result.exit_code == 0, result.output
    assert "| all | 1 | 100.0 (21–100) | 100 | 0 | 0 | 0 | 0 | 0 / 0.0 |" in result.output
    assert json.loads((tmp_path / "out.json").read_text())["rows"][0]["right"]
    refused = CliRunner().invoke(main, arguments, obj=lambda _: ScriptedEngine())
    assert refused.exit_code != 0
    assert "not taught to follow instructions" in refused.output


def test_the_command_takes_a_set_of_others_and_leaves_out_what_cannot_be_tested(tmp_path):
    row = {"id": 3, "name": "double", "before": CASE.selection, "after": CASE.reference, "tests": "assert f(2) == 4"}
    rows = [
        row | {"instruction_descriptive": "Return twice the argument.", "instruction_lazy": "double it"},
        row | {"name": "b", "instruction": "double it", "tests": "import a_module_that_is_not_here"},
    ]
    (tmp_path / "set.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    arguments = ["eval", "instruct", "--set", str(tmp_path / "set.jsonl"), "--out", str(tmp_path / "out.json")]
    result = CliRunner().invoke(main, arguments, obj=lambda _: Instructed([CASE.reference]))
    assert result.exit_code == 0, result.output
    assert "1 of 3 cases are left out" in result.output
    found = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(row["name"], row["kind"], row["right"]) for row in found] == [
        ("double-descriptive", "descriptive", True),
        ("double-lazy", "lazy", True),
    ]


def test_the_command_wants_cases(tmp_path):
    result = CliRunner().invoke(main, ["eval", "instruct", "--out", str(tmp_path / "out.json")])
    assert result.exit_code == 2
    assert "name files of cases, or a set" in result.output


def test_the_table_has_a_line_for_each_language_and_kind():
    with Programs() as programs:
        rows = list(measured([CASE, replace(CASE, name="b", kind="guard")], ScriptedEngine([CASE.reference]), programs))
    assert [line.split("|")[1].strip() for line in tables.by_part(rows)][2:] == ["all", "python", "behaviour", "guard"]
    halves = [line.split("|")[1:3] for line in tables.by_part(rows, {("python", "b")})][3:5]
    assert halves == [[" chosen by ", " 1 "], [" held out ", " 1 "]]
