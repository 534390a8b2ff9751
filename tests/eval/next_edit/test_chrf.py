"""The score by characters, on figures that were worked out by hand."""

from __future__ import annotations

import pytest

from palimpsest_eval.next_edit.chrf import chrf, delta_chrf

# of "ab" and "ac": one letter of two is common (F 0.5), no pair is (0)
# of "aab" and "ab": 2 of 3 and 2 of 2 letters (precision 2/3, recall 1: F = 5 * 2/3 / (4 * 2/3 + 1) = 10/11), 1 of 2 and
# 1 of 1 pairs (F = 5 * 1/2 / (4 * 1/2 + 1) = 5/6), and one triple that the other has not (0)
FIGURES = [
    ("", "", 100.0),
    ("a", "", 0.0),
    ("", "a", 0.0),
    ("abc", "abc", 100.0),
    ("ab", "ac", 25.0),
    ("aab", "ab", 100 * (10 / 11 + 5 / 6) / 3),
    ("ü b", "ü b", 100.0),
    ("a b", "ab", 100 * (10 / 11) / 3),
]


@pytest.mark.parametrize(("candidate", "reference", "score"), FIGURES)
def test_scores_are_those_worked_out_by_hand(candidate: str, reference: str, score: float) -> None:
    assert chrf(candidate, reference) == pytest.approx(score)


def test_lines_that_stay_do_not_count() -> None:
    before = ["one", "two", "three"]
    assert delta_chrf(before, ["one", "ab", "three"], ["one", "ac", "three"]) == pytest.approx(25.0)
    assert delta_chrf(before, before, ["one", "three"]) == 100.0
    assert delta_chrf(before, before, ["one", "ac", "three"]) == 0.0
