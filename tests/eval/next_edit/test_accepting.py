"""Documents and history once an edit was accepted."""

from __future__ import annotations

import pytest

from palimpsest_engine.changes import Change
from palimpsest_engine.request import Span
from palimpsest_eval.next_edit.accepting import change_between, with_edit
from palimpsest_eval.next_edit.cases import Case


@pytest.mark.parametrize(
    ("was", "now", "change"),
    [
        ("a\nb\nc\n", "a\nx\nc\n", Change("f", 2, "b\n", "x\n")),
        ("a\nc\n", "a\nb\nc\n", Change("f", 2, "", "b\n")),
        ("a\nb\nc\n", "a\nc\n", Change("f", 2, "b\n", "")),
        ("a\nb\nc", "a\nb\nd", Change("f", 4, "c", "d")),
        ("a\n", "a\n", Change("f", 0, "", "")),
    ],
)
def test_a_change_has_whole_lines(was: str, now: str, change: Change) -> None:
    assert change_between("f", was, now) == change
    assert now[change.start or 0 :].startswith(change.after)


def test_an_accepted_edit_is_the_newest_change_and_the_others_move(case: Case) -> None:
    earlier = (Change("a.py", 29, "use(length)\n", "use(width)\n"), Change("a.py", 0, "width = 4\n", "size = 4\n"))
    documents, changes, cursor = with_edit(case.documents, earlier, "a.py", Span(15, 27), "size, size")
    assert documents[0].text == "size = 4\nprint(size, size)\nuse(width)\n# width\n"
    assert [(each.start, each.after) for each in changes] == [
        (9, "print(size, size)\n"),
        (27, "use(width)\n"),
        (0, "size = 4\n"),
    ]
    assert cursor == 25


def test_a_change_that_an_edit_lies_in_takes_it_over(case: Case) -> None:
    earlier = (Change("a.py", 9, "", "print(width, width)\nuse(width)\n"),)
    _, changes, _ = with_edit(case.documents, earlier, "a.py", Span(33, 38), "size")
    assert changes[1] == Change("a.py", 9, "", "print(width, width)\nuse(size)\n")


@pytest.mark.parametrize(
    ("span", "text", "before", "after"),
    [
        pytest.param(
            Span(9, 14), "show", "show(height, width)\n", "show(width, width)\n", id="before what was changed"
        ),
        pytest.param(
            Span(22, 27), "size", "print(height, size)\n", "print(width, size)\n", id="behind what was changed"
        ),
        pytest.param(Span(15, 20), "size", "print(height, width)\n", "print(size, width)\n", id="what was changed"),
    ],
)
def test_an_edit_beside_a_change_on_its_line_was_always_so(
    case: Case, span: Span, text: str, before: str, after: str
) -> None:
    earlier = (Change("a.py", 9, "print(height, width)\n", "print(width, width)\n"),)
    _, changes, _ = with_edit(case.documents, earlier, "a.py", span, text)
    assert changes[1] == Change("a.py", 9, before, after)


def test_a_change_that_an_edit_cuts_into_stands_no_more(case: Case) -> None:
    earlier = (Change("a.py", 29, "", "use(width)\n"),)
    _, changes, _ = with_edit(case.documents, earlier, "a.py", Span(22, 38), "")
    assert changes[1].start is None


def test_the_edited_document_is_the_first(case: Case) -> None:
    documents, changes, cursor = with_edit(case.documents, case.changes, "b.py", Span(5, 10), "size")
    assert [each.name for each in documents] == ["b.py", "a.py"]
    assert (changes[0].document, changes[1], cursor) == ("b.py", case.changes[0], 9)
