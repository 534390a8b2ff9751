"""From a question to a model's request and back: the window, its changes, and the edits that an answer stands for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import Change, Fill, NextEditQuestion, OpenDocument, Place, Span, Verdict
from palimpsest_engine.fill.edit_window import LINES, edits_of, window_request

TEXT = "".join(f"line {number}\n" for number in range(60))
HERE = OpenDocument("file:///p/a.py", TEXT, "python", "/p/a.py")
LINE = st.sampled_from(["a = 1\n", "b = 2\n", "  c\n", "\n", "é 😀\n", "a = 1\r\n", "x"])


def question(
    text: str = TEXT, cursor: int = 0, *changes: Change, others: tuple[OpenDocument, ...] = ()
) -> NextEditQuestion:
    changes = changes or (Change(HERE.name, None, "old\n", "new\n"),)
    return NextEditQuestion((OpenDocument(HERE.name, text, "python", "/p/a.py"), *others), changes, cursor)


def filled(text: str) -> Fill:
    return Fill((text,), Verdict("valid"))


def test_the_window_is_whole_lines_around_the_cursor() -> None:
    for cursor, first in ((0, 0), (TEXT.index("line 30"), 20), (len(TEXT), 60 - LINES)):
        request = window_request(question(cursor=cursor))
        assert request is not None
        (hole,) = request.holes
        window = TEXT[hole.start : hole.end].splitlines()
        assert window == [f"line {number}" for number in range(first, first + LINES)]


def test_the_newest_change_is_shown_last_and_other_files_by_their_name() -> None:
    other = OpenDocument("file:///p/b.py", "x\n", "python", "/p/b.py")
    changes = (Change(HERE.name, None, "1\n", "2\n"), Change(other.name, None, "3\n", "4\n"))
    request = window_request(question(TEXT, 0, *changes, others=(other,)))
    assert request is not None
    assert [(each.path, each.after) for each in request.changes] == [("/p/b.py", "4\n"), ("/p/a.py", "2\n")]


def test_a_place_in_another_document_is_asked_there() -> None:
    other = OpenDocument("file:///p/b.py", "call(1)\n", "python", "/p/b.py")
    place = Place(other.name, Span(0, 7), "`call` got a parameter")
    asked = question(others=(other,))
    request = window_request(asked, place)
    assert request is not None
    assert request.document == other.name
    (edit,) = edits_of(asked, request, filled("call(1, 2)\n"), place)
    assert (edit.document, edit.span, edit.text, edit.reason) == (other.name, Span(6, 6), ", 2", place.reason)


def test_nothing_is_asked_without_a_change_or_where_nothing_stands() -> None:
    assert window_request(NextEditQuestion((HERE,), (), 0)) is None
    assert window_request(question("\n\n")) is None


def test_no_edit_takes_a_change_back() -> None:
    text = "a = 2\nb = 1\n"
    asked = question(text, 0, Change(HERE.name, 0, "a = 1\n", "a = 2\n"))
    request = window_request(asked)
    assert request is not None
    assert not edits_of(asked, request, filled("a = 1\nb = 1\n"))
    (edit,) = edits_of(asked, request, filled("a = 1\nb = 2\n").__class__(("a = 2\nb = 2\n",), Verdict("valid")))
    assert (edit.span, edit.text) == (Span(10, 11), "2")


@given(st.lists(LINE, max_size=30).map("".join), st.lists(LINE, max_size=30).map("".join), st.integers(0, 10**6))
def test_the_edits_make_the_window_of_the_answer(text: str, answer: str, at: int) -> None:
    asked = question(text, at % (len(text) + 1))
    request = window_request(asked)
    if request is None:
        return
    (hole,), made = request.holes, text
    for edit in reversed(edits_of(asked, request, filled(answer))):
        assert hole.start <= edit.span.start <= edit.span.end <= hole.end
        made = made[: edit.span.start] + edit.text + made[edit.span.end :]
    wanted = text[: hole.start] + answer + text[hole.end :] if answer else text
    assert "".join(made.split()) == "".join(wanted.split())
