"""Judgements on offered edits: the text with it decides, not how it is cut."""

from __future__ import annotations

import pytest

from palimpsest_engine.changes import NextEdit
from palimpsest_engine.request import Span
from palimpsest_eval.next_edit.cases import Case, Option
from palimpsest_eval.next_edit.judging import Verdict, applied, judged

RIGHT, WRONG, ELSEWHERE = "right", "wrong", "elsewhere"


def edit(start: int, end: int, text: str, document: str = "a.py") -> NextEdit:
    return NextEdit(document, Span(start, end), text, "rename", "renamed")


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        pytest.param(edit(15, 20, "size"), Verdict(True, True, (0,)), id="the name alone"),
        pytest.param(edit(9, 29, "print(size, width)\n"), Verdict(True, True, (0,)), id="the line with one name"),
        pytest.param(edit(9, 29, "print(size, size)\n"), Verdict(True, True, (0, 1)), id="the line with both"),
        pytest.param(edit(9, 40, "print(size, size)\nuse(size)\n"), Verdict(True, True, (0, 1, 2)), id="two lines"),
        pytest.param(edit(22, 27, "height"), Verdict(False, True), id="another name at the place"),
        pytest.param(edit(9, 40, "print(size, size)\n"), Verdict(False, True), id="a right edit and a lost line"),
        pytest.param(edit(0, 4, "breadth"), Verdict(False, False), id="another place"),
        pytest.param(edit(42, 47, "size"), Verdict(True, True, (4,)), id="what is allowed"),
        pytest.param(edit(5, 10, "size", "b.py"), Verdict(True, True, (3,)), id="another document"),
        pytest.param(edit(15, 20, "size", "b.py"), Verdict(False, False), id="outside of that document"),
        pytest.param(edit(0, 1, "", "c.py"), Verdict(False, False), id="a document that is not open"),
        pytest.param(edit(15, 20, "width"), Verdict(False, True), id="nothing changes"),
    ],
)
def test_an_edit_is_judged_by_the_text_with_it(case: Case, offered: NextEdit, expected: Verdict) -> None:
    assert judged(case.documents, (*case.due, *case.allowed), offered) == expected


def test_any_of_several_texts_is_right_at_a_place(case: Case) -> None:
    due = ((Option("a.py", Span(15, 20), "size"), Option("a.py", Span(15, 20), "len(size)")),)
    assert [judged(case.documents, due, edit(15, 20, text)).right for text in ("size", "len(size)", "len")] == [
        True,
        True,
        False,
    ]


def test_a_line_may_be_inserted_before_or_after_a_line_end(case: Case) -> None:
    due = ((Option("a.py", Span(9, 9), "import os\n"),),)
    assert judged(case.documents, due, edit(8, 8, "\nimport os")).right


def test_edits_are_applied_from_the_last_to_the_first() -> None:
    assert applied("abc", [Option("", Span(0, 1), "xx"), Option("", Span(2, 3), "")]) == "xxb"
