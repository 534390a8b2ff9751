"""The smallest edit is right, and smallest."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from palimpsest_engine import Span
from palimpsest_server.documents import edits
from palimpsest_server.documents.rope import Text

TEXTS = st.text("a\r\n", max_size=5)  # few characters, so that old and new have much in common


def splits(text: str, at: int) -> bool:
    return text[max(at - 1, 0) : at + 1] == "\r\n"


@settings(max_examples=500)
@given(before=TEXTS, old=TEXTS, after=TEXTS, new=TEXTS)
@example(before="", old="\r\n", after="", new="\ra")
@example(before="", old="a\r\n", after="", new="b\n")
def test_the_edit_writes_the_new_text_into_the_hole_and_nothing_else(before, old, after, new):
    text = before + old + after
    if splits(text, len(before)) or splits(text, len(before + old)):
        return  # no client can select that
    found = edits.smallest(text, Span(len(before), len(before + old)), new)
    if found is None:
        assert old == new
        return
    assert text[: found.span.start] + found.text + text[found.span.end :] == before + new + after
    assert edits.smallest(Text.of(text), Span(len(before), len(before + old)), new) == found
    assert len(before) <= found.span.start <= found.span.end <= len(before + old)
    assert not splits(text, found.span.start)
    assert not splits(text, found.span.end)


@given(old=st.text("ab", max_size=8), new=st.text("ab", max_size=8))
def test_no_edit_could_be_smaller(old, new):
    found = edits.smallest(old, Span(0, len(old)), new)
    if found is None:
        return
    replaced = old[found.span.start : found.span.end]
    assert replaced[:1] != found.text[:1] or not (replaced and found.text)
    assert replaced[-1:] != found.text[-1:] or not (replaced and found.text)


@pytest.mark.parametrize(
    ("text", "new", "fitted"),
    [
        ("a\nb", "x\ny", "x\ny"),
        ("a\r\nb", "x\ny\r\nz", "x\r\ny\r\nz"),
        ("", "x\ny", "x\ny"),
        ("a\nb\r\n", "x\ny", "x\ny"),
    ],
)
def test_line_ends_are_those_of_the_document(text, new, fitted):
    assert edits.with_line_ends_of(text, new) == fitted
