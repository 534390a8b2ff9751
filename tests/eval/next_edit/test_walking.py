"""Walks from place to place, with what proposes everything, nothing, or something wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from palimpsest_engine.changes import NextEdit, NextEditQuestion
from palimpsest_engine.request import Span
from palimpsest_eval.next_edit.cases import Case, Option, read
from palimpsest_eval.next_edit.measuring import measured, rates, times
from palimpsest_eval.next_edit.tables import by_eagerness, by_part
from palimpsest_eval.next_edit.walking import Propose, Walk, walked

FIXTURES = Path(__file__).parents[3] / "fixtures" / "next-edit"


def renamed(question: NextEditQuestion, new: str = "size") -> tuple[NextEdit, ...]:
    """Offer the first `width` of each document; but not in comments."""
    found = []
    for document in question.documents:
        at = document.text.find("(width") + 1 or document.text.find(", width") + 2
        if at > 1:
            found.append(NextEdit(document.name, Span(at, at + 5), new, "rename", "renamed"))
    return tuple(found)


def wrongly(question: NextEditQuestion) -> tuple[NextEdit, ...]:
    """Offer another name before the right one."""
    return (*(replace(each, certainty="likely") for each in renamed(question, "height")), *renamed(question))


def nothing(question: NextEditQuestion) -> tuple[NextEdit, ...]:
    return ()


@pytest.mark.parametrize(
    ("propose", "walk"),
    [
        pytest.param(renamed, Walk(4, 4, 0), id="every place is reached"),
        pytest.param(nothing, Walk(4, 0, 0), id="no place is reached"),
        pytest.param(wrongly, Walk(4, 4, 4), id="wrong ones are refused on the way"),
    ],
)
def test_a_walk_counts_places_and_wrong_edits(case: Case, propose: Propose, walk: Walk) -> None:
    assert walked(case, propose, 30) == walk


def test_a_walk_without_end_ends(case: Case) -> None:
    def longer(question: NextEditQuestion) -> tuple[NextEdit, ...]:
        at = len(question.documents[0].text)
        return (NextEdit("a.py", Span(at, at), "x\n" * len(question.changes), "sibling", "more"),)

    assert walked(case, longer, 30) == Walk(4, 0, 1)


def test_rates_of_a_case_count_the_first_edit_that_an_eagerness_shows(case: Case) -> None:
    quiet = replace(case, id="quiet", needs="nothing", kind="comment", due=(), allowed=())
    rows = list(measured([case, quiet], wrongly, 30))
    low, medium = rates(rows, "low"), rates(rows, "medium")
    assert (low.first, low.first_three, low.shown_in_vain, low.sure_right) == ((1, 1), (1, 1), (1, 1), (2, 4))
    assert (medium.first, medium.first_three, medium.at_place, medium.right_when_shown) == (
        (0, 1),
        (1, 1),
        (1, 1),
        (0, 2),
    )
    assert (low.reached, low.wrong_on_the_way) == ((4, 4), 2)
    assert times(rows)[0] > 0


def test_tables_have_a_line_for_each_part(case: Case) -> None:
    rows = list(measured([case, replace(case, needs="nothing", kind="rename", due=())], renamed, 30))
    table = "\n".join([*by_eagerness(rows), *by_part(rows)])
    assert "| `medium` | 100.0 (21–100) | 100.0 (21–100) |" in table
    for part in ("python", "rename", "quiet: rename", "decided by syntax"):
        assert f"\n| {part} | " in table


def test_every_place_is_reached_with_knowledge_of_what_is_due() -> None:
    for case in [each for name in ("tune", "test") for each in read(FIXTURES / f"{name}.jsonl")]:
        left = sorted((due[-1] for due in case.due), key=lambda option: option.span.start)

        def knowing(_: NextEditQuestion, left: list[Option] = left) -> tuple[NextEdit, ...]:
            last = [left.pop()] if left else []  # what is due before it stays where it is
            return tuple(NextEdit(each.document, each.span, each.text, "model", "due") for each in last)

        assert walked(case, knowing, 30) == Walk(len(case.due), len(case.due), 0), case.id
