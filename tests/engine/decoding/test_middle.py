"""The end of a middle that was written left to right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine.decoding.middle import before_repetition

SUFFIX = "\n    return readings\n\n\ndef mean(values):\n    }\n    x\n    return 0\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a = 1\n    return readings\n", "a = 1\n"),
        ("a = 1\n    return readings", "a = 1\n    return readings"),  # the line may go on
        ("    return readings\n", "    return readings\n"),  # the first line never counts
        ("a\n    }\nb\n", "a\n    }\nb\n"),  # too short to mean anything
        ("a\n    }\n    x\n", "a\n"),  # two after each other
        ("a\n  return readings\nb\n", "a\n  return readings\nb\n"),  # another indentation
        ("a\n    return 0\nb\n", "a\n    return 0\nb\n"),  # too far below
        ("", ""),
    ],
)
def test_a_middle_ends_where_the_lines_below_begin(text, kept):
    assert before_repetition(text, SUFFIX) == kept


@given(st.text("ab \n", max_size=40), st.text("ab \n", max_size=40))
def test_a_middle_keeps_a_beginning_with_its_first_line(text, suffix):
    kept = before_repetition(text, suffix)
    assert text.startswith(kept)
    assert kept.partition("\n")[0] == text.partition("\n")[0]
    assert before_repetition(kept, suffix) == kept
