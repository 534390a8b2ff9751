"""Diagnostics: a name that a tool does not know any more, lines that come first, and guesses that a tool confirms."""

import pytest

from palimpsest_engine.changes import Change, Diagnostic, NextEdit, NextEditQuestion, OpenDocument
from palimpsest_engine.request import Span
from palimpsest_engine.syntax import watched
from palimpsest_engine.syntax.next_edit.diagnosed import diagnosed
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups

TEXT = "def total(rows):\n    return rows\n\n\nitems = load()\nprint(obj.count_all)\nprint(other.count_all)\n"


def question(text: str, before: str, after: str, *said: tuple[str, str], nth: int = 0) -> NextEditQuestion:
    """Return a question after one change, with diagnostics: what they are about, and their message."""
    start = text.index(after)
    places = []
    for about, message in said:
        at = text.index(about)
        for _ in range(nth):
            at = text.index(about, at + 1)
        places.append(Diagnostic("a", Span(at, at + len(about)), message))
    document = OpenDocument("a", text, "python")
    return NextEditQuestion((document,), (Change("a", start, before, after),), 0, tuple(places), 60_000)


def renamed(*said: tuple[str, str], nth: int = 0) -> list[NextEdit]:
    return list(
        follow_ups(question(TEXT, "def count_all(rows):\n", "def total(rows):\n", *said, nth=nth), (diagnosed,)).edits
    )


@pytest.mark.parametrize(
    "message",
    [
        '"count_all" is not defined',
        "Cannot access attribute: has no attribute `count_all`",
        "cannot find value count_all",
    ],
)
def test_a_name_that_is_not_known_any_more_gets_its_new_one(message: str) -> None:
    (edit,) = renamed(("count_all", message), nth=1)
    assert (edit.text, edit.certainty, edit.kind) == ("total", "likely", "rename")
    assert TEXT[: edit.span.start].endswith("print(other.")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("count_all", "count_all is deprecated"),
        ("count_all", '"items" is not defined'),
        ("items = load()", "load is not defined"),
    ],
)
def test_other_messages_say_nothing_of_the_name(about: str, message: str) -> None:
    assert not renamed((about, message))


def test_the_name_is_found_within_what_a_message_is_about() -> None:
    (edit,) = renamed(("obj.count_all", "obj.count_all undefined"))
    assert TEXT[edit.span.start : edit.span.end] == "count_all"


def test_lines_with_a_diagnostic_come_first_among_equals() -> None:
    text = "def f(size):\n    a = limit\n    b = limit\n    return limit\n"
    asked = question(text, "def f(limit):\n", "def f(size):\n", ("return limit", "limit is odd"))
    assert follow_ups(asked).edits[0].span.start == text.rindex("limit")
    without = question(text, "def f(limit):\n", "def f(size):\n")
    assert follow_ups(without).edits[0].span.start == text.index("limit")


def test_a_guess_that_a_diagnostic_names_is_likely() -> None:
    text = "import parse_all\n\n\ndef f(x):\n    return parse(x, 1)\n"
    before = "import parse\n"
    plain = question(text, before, "import parse_all\n")
    told = question(text, before, "import parse_all\n", ("parse(x", '"parse" is strange'))
    assert [edit.certainty for edit in follow_ups(plain).edits] == ["possible"]
    assert [edit.certainty for edit in follow_ups(told).edits] == ["likely"]


def test_diagnostics_reach_the_process_that_parses() -> None:
    text = TEXT
    asked = question(text, "def count_all(rows):\n", "def total(rows):\n", ("count_all", '"count_all" is not defined'))
    assert any(edit.text == "total" for edit in watched.follow_ups(asked).edits)
