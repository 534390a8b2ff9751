"""Completion items replace a part of the document, whatever position the client asks about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_server.app import ask_of
from palimpsest_server.documents.store import Documents
from palimpsest_server.features import completion_list
from palimpsest_server.features.inline_completion import Answer

URI = "file:///a.py"
ENCODINGS = [types.PositionEncodingKind(name) for name in ("utf-8", "utf-16", "utf-32")]


def replaced(text, line, character, encoding):
    """Return the document, and the range that an item replaces."""
    documents = Documents(encoding)
    documents.open(types.TextDocumentItem(URI, "python", 1, text))
    document = documents.snapshot(URI)
    asked, _ = ask_of(document, types.Position(line, character), None, encoding, automatic=True)
    (item,) = completion_list.items(asked, Answer(("x",)), encoding).items
    return document, item.text_edit


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(
    text=st.text(st.sampled_from("ab_ é😀𝒳e\u0301\r\n("), max_size=30),
    line=st.integers(0, 8),
    character=st.integers(0, 40),
)
def test_the_range_is_the_word_before_the_place_that_the_position_stands_for(encoding, text, line, character):
    document, edit = replaced(text, line, character, encoding)
    content, where = document.content, edit.range
    assert where.start.line == where.end.line
    assert where.start.character <= where.end.character
    start, end = (content.offset_at(each, encoding) for each in (where.start, where.end))
    assert content.range_at(start, end, encoding) == where  # neither is past an end, or half a character
    assert end == content.offset_at(types.Position(line, character), encoding)
    assert edit.new_text == content.slice(start, end) + "x"


@pytest.mark.parametrize(
    ("position", "encoding", "where"),
    [
        ((0, 99), "utf-16", (0, 3, 0, 7)),
        ((9, 0), "utf-16", (1, 0, 1, 2)),
        ((9, 3), "utf-16", (1, 0, 1, 2)),
        ((0, 2), "utf-16", (0, 1, 0, 1)),
        ((0, 3), "utf-8", (0, 1, 0, 1)),
        ((0, 2), "utf-32", (0, 2, 0, 2)),
    ],
)
def test_a_position_that_is_none_stands_for_one(position, encoding, where):
    _, edit = replaced("(😀self\nab", *position, types.PositionEncodingKind(encoding))
    start_line, start, end_line, end = where
    assert edit.range == types.Range(types.Position(start_line, start), types.Position(end_line, end))
