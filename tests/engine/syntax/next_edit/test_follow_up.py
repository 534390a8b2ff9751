"""The entry: what finders found is judged, ranked and freed of what must never be offered."""

from collections.abc import Iterator

import pytest

from palimpsest_engine import follow_ups as asked_there
from palimpsest_engine.changes import Change, NextEdit, NextEditQuestion, OpenDocument
from palimpsest_engine.request import Span
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups
from palimpsest_engine.syntax.next_edit.scene import Scene

TEXT = "a = 2\nb = 1\nc = 1\n"
DOCUMENT = OpenDocument("file:///a.py", TEXT, "python")
QUESTION = NextEditQuestion((DOCUMENT,), (Change(DOCUMENT.name, 0, "a = 1\n", "a = 2\n"),), 0)


def edit(start: int, end: int, text: str) -> NextEdit:
    return NextEdit(DOCUMENT.name, Span(start, end), text, "sibling", "alike")


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        pytest.param([edit(10, 11, "2")], [10], id="a sound one"),
        pytest.param([edit(10, 11, "1")], [], id="it changes nothing"),
        pytest.param([edit(4, 5, "1")], [], id="it undoes the change"),
        pytest.param([edit(10, 11, "(")], [], id="it breaks the syntax"),
        pytest.param([edit(16, 17, "2"), edit(10, 11, "2")], [10, 16], id="the nearest first"),
        pytest.param([edit(10, 11, "2"), edit(6, 11, "b = 2")], [6], id="no two overlap"),
    ],
)
def test_unsound_overlapping_and_empty_edits_are_left_out(found: list[NextEdit], kept: list[int]) -> None:
    def finder(_: Scene) -> Iterator[NextEdit]:
        yield from found

    assert [each.span.start for each in follow_ups(QUESTION, (finder,)).edits] == kept


def test_an_empty_answer_has_a_reason() -> None:
    assert follow_ups(NextEditQuestion((DOCUMENT,), (), 0)).reason == "nothing was changed yet"
    assert "no grammar" in asked_there(NextEditQuestion((OpenDocument("a.xyz", "", "xyz"),), (), 0)).reason


def test_the_process_that_parses_answers_the_same() -> None:
    assert asked_there(QUESTION) == follow_ups(QUESTION)
