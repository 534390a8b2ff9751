"""Nothing that is less sure than the user's eagerness asks for is shown unasked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import Confidence
from palimpsest_server.session.eagerness import PRECISION, Offer, waits_for_the_end

SURE, LIKELY, WEAK = Confidence(0.95, 0.9), Confidence(0.62, 0.6), Confidence(0.12, 0.3)


@pytest.mark.parametrize(
    ("confidences", "eagerness", "shown"),
    [
        ((SURE, LIKELY, WEAK), "low", ("a",)),
        ((SURE, LIKELY, WEAK), "medium", ("a", "ab")),
        ((SURE, LIKELY, WEAK), "high", ("a", "ab", "b")),
        ((WEAK, SURE, WEAK), "low", ("ab",)),
        ((WEAK, WEAK, LIKELY), "low", ()),
        ((WEAK, WEAK, WEAK), "medium", ()),
        ((WEAK, WEAK, WEAK), "high", ("a", "ab", "b")),
        ((), "low", ("a", "ab", "b")),  # nobody measured this model
    ],
)
def test_the_sure_texts_are_shown_in_their_order(confidences, eagerness, shown):
    assert Offer(("a", "ab", "b"), confidences=confidences).unasked(eagerness).texts == shown


def test_a_text_that_is_held_back_has_a_reason_with_its_probability():
    held = Offer(("a", "b"), confidences=(WEAK, WEAK)).unasked("medium")
    assert held.reason == "not sure enough (about 12 % likely to be right; eagerness is medium)"


def test_an_offer_of_nothing_keeps_its_reason():
    assert Offer(reason="the gate rejected it").unasked("low") == Offer(reason="the gate rejected it")


CONFIDENCES = st.builds(Confidence, st.floats(0, 1), st.sampled_from([0.0, 0.3, 0.6, 0.8, 0.9]))


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=4), CONFIDENCES), max_size=5), st.text("ab", max_size=2))
def test_each_text_keeps_its_confidence(pairs, typed):
    offer = Offer(tuple(text for text, _ in pairs), confidences=tuple(each for _, each in pairs))
    rest = offer.after(typed)
    assert len(rest.texts) == len(rest.confidences)
    assert {(typed + text, each) for text, each in zip(rest.texts, rest.confidences, strict=True)} <= set(pairs)
    for one, other in (("low", "medium"), ("medium", "high")):
        assert set(rest.unasked(one).texts) <= set(rest.unasked(other).texts)


@pytest.mark.parametrize(
    ("eagerness", "measured"), [(each, measured) for each in PRECISION for measured in (True, False)]
)
def test_drafts_wait_for_the_end_where_something_may_be_held_back(eagerness, measured):
    assert waits_for_the_end(eagerness, measured=measured) is (measured and eagerness != "high")
