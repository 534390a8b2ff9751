"""Kept suggestions are found only where they still hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_server.session.eagerness import Offer
from palimpsest_server.session.suggestions import Suggestion, Suggestions

URI = "file:///a.py"
TEXTS = st.text("ab\n", max_size=6)


@given(before=TEXTS, fill=st.text("ab\n", min_size=1, max_size=8), after=TEXTS, data=st.data())
def test_typing_along_a_suggestion_leaves_the_rest_of_it(before, fill, after, data):
    kept = Suggestions()
    kept.keep(Suggestion(URI, before + after, len(before), Offer((fill,))))
    typed = data.draw(st.integers(0, len(fill) - 1))
    found = kept.find(URI, before + fill[:typed] + after, len(before) + typed)
    assert found is not None
    assert found.offer.texts == (fill[typed:],)


@given(text=TEXTS, offset=st.integers(0, 6), fill=TEXTS, now=TEXTS, cursor=st.integers(0, 6))
def test_a_kept_rest_leads_to_the_text_that_was_suggested(text, offset, fill, now, cursor):
    offset, cursor = min(offset, len(text)), min(cursor, len(now))
    kept = Suggestions()
    kept.keep(Suggestion(URI, text, offset, Offer((fill,)) if fill else Offer(reason="nothing")))
    found = kept.find(URI, now, cursor)
    if found is not None:
        for rest in found.offer.texts or ("",):
            assert now[:cursor] + rest + now[cursor:] == text[:offset] + fill + text[offset:]


@pytest.mark.parametrize(
    ("uri", "text", "offset"),
    [
        (URI, "x = \ny", 3),  # another place
        (URI, "x = 2\ny", 5),  # something else was typed
        (URI, "x = 1 + 1\ny", 9),  # all of it was typed
        (URI, "x = 1\nz", 5),  # the text after it changed
        (URI, "w = 1\ny", 5),  # the text before it changed
        ("file:///b.py", "x = \ny", 4),
    ],
)
def test_elsewhere_there_is_nothing(uri, text, offset):
    kept = Suggestions()
    kept.keep(Suggestion(URI, "x = \ny", 4, Offer(("1 + 1",))))
    assert kept.find(uri, text, offset) is None


def test_nothing_to_offer_is_kept_too_but_only_for_the_same_place():
    kept = Suggestions()
    kept.keep(Suggestion(URI, "x", 1, Offer(reason="the gate rejected it")))
    found = kept.find(URI, "x", 1)
    assert found is not None
    assert (found.offer.texts, found.offer.reason) == ((), "the gate rejected it")
    assert kept.find(URI, "xy", 2) is None


def test_the_oldest_one_goes_and_a_document_can_be_forgotten():
    kept = Suggestions(size=2)
    for text in ("a", "b", "c"):
        kept.keep(Suggestion(URI, text, 1, Offer(("!",))))
    assert kept.find(URI, "a", 1) is None
    assert kept.find(URI, "c", 1) is not None
    kept.keep(Suggestion("file:///b.py", "d", 1, Offer(("!",))))
    kept.forget(URI)
    assert kept.find(URI, "c", 1) is None
    assert kept.find("file:///b.py", "d", 1) is not None
    kept.forget()
    assert kept.find("file:///b.py", "d", 1) is None


def test_typing_along_any_of_several_leaves_the_rest_of_those_that_agree():
    kept = Suggestions()
    kept.keep(Suggestion(URI, "x = ", 4, Offer(("first()", "found()", "second()")), wide=True))
    agreeing = kept.find(URI, "x = f", 5)
    assert agreeing is not None
    assert (agreeing.offer.texts, agreeing.wide) == (("irst()", "ound()"), True)
    second = kept.find(URI, "x = sec", 7)
    assert second is not None
    assert second.offer.texts == ("ond()",)
    assert kept.find(URI, "x = t", 5) is None
    assert kept.find(URI, "x = second()", 12) is None
