"""Programs with a wrong word: one that mends them, one that is silent, one that always offers something."""

from __future__ import annotations

import pytest

from palimpsest_engine.changes import NextEdit, NextEditQuestion
from palimpsest_engine.request import Span
from palimpsest_eval.next_edit.repairing import Repair, repaired
from palimpsest_eval.next_edit.tables import of_repairs
from palimpsest_eval.next_edit.walking import Propose
from palimpsest_eval.problems import Problem

TEST = "def check(candidate):\n    assert candidate(2) == 3\n"
PROBLEM = Problem("one", "def more(n):\n    one = 1\n    ", "\n", "return n + one", TEST, "more")


def passes(program: str) -> bool:
    try:
        exec(program, {})
    except Exception:
        return False
    return True


def last_line(question: NextEditQuestion, text: str) -> tuple[NextEdit, ...]:
    start = question.changes[0].start or 0
    document = question.documents[0]
    line = Span(start, document.text.find("\n", start))
    return (NextEdit(document.name, line, text, "mend", "a slip", "likely"),)


def mending(question: NextEditQuestion) -> tuple[NextEdit, ...]:
    return () if "return n + one" in question.documents[0].text else last_line(question, "    return n + one")


def otherwise(question: NextEditQuestion) -> tuple[NextEdit, ...]:
    return last_line(question, "    return one + n")


@pytest.mark.parametrize(
    ("propose", "expected"),
    [
        pytest.param(lambda question: (), (False, False, False, False), id="silence"),
        pytest.param(mending, (True, True, True, False), id="the line as it was"),
        pytest.param(otherwise, (True, True, False, True), id="another line that passes, and one too many"),
    ],
)
def test_tests_say_whether_a_program_is_mended(propose: Propose, expected: tuple[bool, ...]) -> None:
    rows = list(repaired([PROBLEM], propose, passes, 1, 30))
    assert [row.eagerness for row in rows] == ["low", "medium", "high"]
    low, medium, high = ((row.shown, row.mended, row.exact, row.in_vain) for row in rows)
    assert low == (False, False, False, False)
    assert medium == high == expected
    assert rows[0].wrong != PROBLEM.truth


def test_a_wrong_word_that_breaks_nothing_is_left_out() -> None:
    assert list(repaired([PROBLEM], mending, lambda program: True, 1, 30)) == []


def test_the_table_has_a_line_for_each_eagerness() -> None:
    table = list(of_repairs([Repair("one", "medium", "return n", True, True, False, False)]))
    assert table[3] == "| `medium` | 1 | 100.0 (21–100) | 100.0 (21–100) | 0.0 (0–79) | 100.0 (21–100) | 0.0 (0–79) |"
