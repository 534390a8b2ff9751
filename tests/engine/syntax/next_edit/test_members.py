"""Members: what lists all variants of an enum, or all fields of a struct, has to list a new one."""

from __future__ import annotations

import pytest

from palimpsest_engine.changes import Change, FollowUps, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups
from palimpsest_engine.syntax.next_edit.members import members

ENUM = "enum K {\n    A,\n    B,\n    C,\n}\n\nfn f(k: K) -> u8 {\n    match k {\n%s    }\n}\n"
STRUCT = "struct P {\n    x: u8,\n    y: u8,\n}\n\nfn f(x: u8, y: u8) -> P {\n    P %s\n}\n"


def asked(text: str, added: str) -> FollowUps:
    start = text.index(added)
    question = NextEditQuestion(
        (OpenDocument("a", text, "rust"),), (Change("a", start, "", added),), start, budget_ms=60_000
    )
    return follow_ups(question, (members,))


@pytest.mark.parametrize(
    ("arms", "is_due"),
    [
        ("        K::A => 1,\n        K::B => 2,\n", True),
        ("        K::A => 1,\n        _ => 2,\n", False),
        ("        K::A => 1,\n        other => g(other),\n", False),
        ("        K::A => 1,\n        K::C | K::B => 2,\n", False),
        ("        1 => g(K::A),\n        2 => g(K::B),\n", False),
    ],
)
def test_a_match_of_all_variants_is_a_place_for_a_new_one(arms: str, is_due: bool) -> None:
    found = asked(ENUM % arms, "    C,\n")
    assert not found.edits
    assert len(found.places) == is_due


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{ x }", "{ x, y }"),
        ("{ x: 1, }", "{ x: 1, y, }"),
        ("{\n        x,\n    }", "{\n        x,\n        y,\n    }"),
        ("{ x, y: 2 }", None),
        ("{ x, ..base() }", None),
    ],
)
def test_a_new_field_is_given_where_its_name_is_known(value: str, expected: str | None) -> None:
    text = STRUCT % value
    found = asked(text, "    y: u8,\n")
    assert not found.places
    texts = [text[: each.span.start] + each.text + text[each.span.end :] for each in found.edits]
    assert texts == ([] if expected is None else [STRUCT % expected])


def test_a_field_that_nobody_knows_is_a_place() -> None:
    text = (STRUCT % "{ x }").replace("f(x: u8, y: u8)", "f(x: u8)")
    found = asked(text, "    y: u8,\n")
    assert [text[each.span.start : each.span.end] for each in found.places] == ["P { x }"]
    assert not found.edits
