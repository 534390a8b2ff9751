"""The entry: what finders found is judged, ranked and freed of what must never be offered."""

import time
from collections.abc import Iterator

import pytest

from palimpsest_engine import follow_ups as asked_there
from palimpsest_engine.changes import Change, NextEdit, NextEditQuestion, OpenDocument
from palimpsest_engine.request import Span
from palimpsest_engine.syntax import watched
from palimpsest_engine.syntax.next_edit import silence
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups
from palimpsest_engine.syntax.next_edit.scene import Scene

PATIENCE = 60_000.0  # ms: no answer here may depend on how fast the machine is
TEXT = "a = 2\nb = 1\nc = 1\n"
DOCUMENT = OpenDocument("file:///a.py", TEXT, "python")
QUESTION = NextEditQuestion((DOCUMENT,), (Change(DOCUMENT.name, 0, "a = 1\n", "a = 2\n"),), 0, budget_ms=PATIENCE)


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


def test_reading_a_grammar_takes_no_time_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first question about a language does, on a machine that has other things to do."""
    is_unfinished = silence.is_unfinished

    def slowly(scene: Scene) -> bool:
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        return is_unfinished(scene)

    def first(scene: Scene) -> Iterator[NextEdit]:
        time.sleep(0.1)  # the processor is somebody else's
        yield from ()

    def second(scene: Scene) -> Iterator[NextEdit]:
        yield edit(10, 11, "2")

    monkeypatch.setattr(silence, "is_unfinished", slowly)
    assert len(follow_ups(QUESTION, (first, second)).edits) == 1


def test_an_empty_answer_has_a_reason() -> None:
    assert follow_ups(NextEditQuestion((DOCUMENT,), (), 0)).reason == "nothing was changed yet"
    assert "no grammar" in asked_there(NextEditQuestion((OpenDocument("a.xyz", "", "xyz"),), (), 0)).reason


def test_the_process_that_parses_answers_the_same() -> None:
    assert asked_there(QUESTION) == follow_ups(QUESTION)


FIXED = "import a\n\nfrom b import c\n"
SLIP = FIXED.replace("from", "imfrom")


@pytest.mark.parametrize(
    ("cursor", "kept"), [pytest.param(0, ["from"], id="elsewhere"), pytest.param(12, [], id="still in the word")]
)
def test_a_slip_is_mended_once_the_word_is_left(cursor: int, kept: list[str]) -> None:
    changes = (Change("a", 10, "from b import c\n", "imfrom b import c\n"),)
    found = follow_ups(NextEditQuestion((OpenDocument("a", SLIP, "python"),), changes, cursor, budget_ms=PATIENCE))
    assert [each.text for each in found.edits] == kept
    assert found.reason == ("" if kept else "the statement is not finished")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param((Change("a", 0, "a=2\n", "a = 2\n"),), "only white space was changed", id="formatted"),
        pytest.param(
            (Change("a", 0, "a = 1\n", "a = 2\n"), Change("a", None, "a = 2\n", "a = 1\n")),
            "the last change was undone",
            id="undone",
        ),
    ],
)
def test_nothing_follows_from(changes: tuple[Change, ...], reason: str) -> None:
    def finder(_: Scene) -> Iterator[NextEdit]:
        yield edit(10, 11, "2")

    document = OpenDocument("a", TEXT, "python")
    assert follow_ups(NextEditQuestion((document,), changes, 0), (finder,)).reason == reason


def test_the_lines_at_hand_come_first_and_those_below_before_those_above() -> None:
    def finder(_: Scene) -> Iterator[NextEdit]:
        yield from (edit(4, 5, "3"), edit(10, 11, "3"), edit(16, 17, "3"))

    changes = (Change(DOCUMENT.name, 12, "c = 2\n", "c = 1\n"),)
    question = NextEditQuestion((DOCUMENT,), changes, 7, budget_ms=PATIENCE)
    assert [each.span.start for each in follow_ups(question, (finder,)).edits] == [16, 10, 4]


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [pytest.param(3, 5, "2", id="only white space"), pytest.param(4, 5, "1", id="what was taken away")],
)
def test_pointless_edits_are_not_offered(start: int, end: int, text: str) -> None:
    def finder(_: Scene) -> Iterator[NextEdit]:
        yield edit(start, end, text)

    assert not follow_ups(QUESTION, (finder,)).edits


@pytest.mark.parametrize(
    ("before", "after", "certainty"),
    [
        pytest.param("a = b\n", "c = b\n", "sure", id="renamed"),
        pytest.param("a = b\n", "c = b(1)\n", "possible", id="renamed, and more"),
    ],
)
def test_a_renaming_is_doubted_if_its_change_did_more(before: str, after: str, certainty: str) -> None:
    def finder(scene: Scene) -> Iterator[NextEdit]:
        at = len(scene.documents["a"].text) - 2
        yield NextEdit("a", Span(at, at + 1), "c", "rename", "renamed", "sure")

    document = OpenDocument("a", after + "x = a\n", "python")
    question = NextEditQuestion((document,), (Change("a", 0, before, after),), 0, budget_ms=PATIENCE)
    found = follow_ups(question, (finder,))
    assert [each.certainty for each in found.edits] == [certainty]


def test_a_mistake_costs_one_answer(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def ask(*_: object) -> object:
        raise RuntimeError("the process that parses failed")

    monkeypatch.setattr(watched._There, "ask", ask)
    assert asked_there(QUESTION).reason == "the search for next edits failed"
    assert "the search for next edits failed" in caplog.text


@pytest.mark.parametrize(
    ("line", "start", "end", "text", "offered"),
    [
        pytest.param('f(_("a"))', 2, 8, '_(_("a"))', False, id="around a call that is there"),
        pytest.param("x: A | None = y", 4, 4, " | None", False, id="before what is there"),
        pytest.param("f(a)", 2, 3, "aa", True, id="a longer name"),
        pytest.param("f(x)", 2, 3, "g(x)", True, id="around something else"),
    ],
)
def test_a_change_is_not_made_twice_at_a_place(line: str, start: int, end: int, text: str, offered: bool) -> None:
    def finder(_: Scene) -> Iterator[NextEdit]:
        yield NextEdit("a", Span(start, end), text, "sibling", "", "likely")

    document = OpenDocument("a", f"{line}\nb = 2\n", "python")
    change = Change("a", len(line) + 1, "b = 1\n", "b = 2\n")
    question = NextEditQuestion((document,), (change,), 0, budget_ms=PATIENCE)
    assert bool(follow_ups(question, (finder,)).edits) == offered
