"""A text in chunks has the same characters and positions as a plain string, after any edits."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol.types import Position, Range

from palimpsest_server.documents import rope as module
from palimpsest_server.documents.rope import Text
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.positions import Encoding

ENCODINGS = [Encoding.Utf8, Encoding.Utf16, Encoding.Utf32]
CHARS = "ab\t\r\n\x0b\x0c\x1c\x85\u2028\u0301é漢😀𝒳\ud800"
PIECES = st.one_of(
    st.text(st.sampled_from(CHARS), max_size=12),
    st.text(st.sampled_from("\r\n"), max_size=12),
    st.builds(lambda unit, times: unit * times, st.sampled_from([*CHARS, "\r\n", "a\r\n"]), st.integers(0, 40)),
)
TEXTS = st.lists(PIECES, max_size=6).map("".join)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Make chunks so small that short texts have all cases between chunks."""
    monkeypatch.setattr(module, "_CHUNK", 8)
    monkeypatch.setattr(module, "_LARGEST", 16)
    monkeypatch.setattr(module, "_SMALLEST", 3)


def edited(text: str, data: st.DataObject) -> tuple[str, Text]:
    """Return a string and the same as a text, both after a few edits."""
    plain, chunked = text, Text.of(text)
    for _ in range(data.draw(st.integers(0, 5))):
        edges = st.integers(0, len(plain))
        start, end = sorted((data.draw(edges), data.draw(edges)))
        new = data.draw(PIECES)
        plain, chunked = plain[:start] + new + plain[end:], chunked.replaced(start, end, new)
    return plain, chunked


@given(text=TEXTS, data=st.data())
def test_the_characters_are_those_of_the_string(text, data):
    before = Text.of(text)
    plain, chunked = edited(text, data)
    assert str(chunked) == plain
    assert len(chunked) == len(plain)
    assert (chunked, hash(chunked)) == (Text.of(plain), hash(Text.of(plain)))
    assert (chunked == before) == (plain == text)
    assert str(before) == text, "an edit makes another text"
    start, end = data.draw(st.integers(0, len(plain))), data.draw(st.integers(0, len(plain) + 3))
    assert chunked.slice(start, end) == plain[start:end]


@settings(max_examples=200)
@given(text=TEXTS, data=st.data())
def test_no_chunk_is_large_and_none_parts_a_line_end(text, data):
    plain, chunked = edited(text, data)
    pieces = [chunk.text for chunk in chunked._chunks]
    assert all(len(piece) <= 17 for piece in pieces)
    assert all(pieces) or pieces == [""]
    assert not any(one.endswith("\r") and other.startswith("\n") for one, other in pairwise(pieces))
    assert chunked.line_count == len([*positions._LINE_END.finditer(plain)]) + 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS, data=st.data())
def test_the_position_of_every_offset(encoding, text, data):
    plain, chunked = edited(text, data)
    for offset in range(len(plain) + 1):
        expected = positions.position_at(plain, offset, encoding)
        assert chunked.position_at(offset, encoding) == expected
        assert chunked.line_at(offset) == expected.line
        inside = plain[max(offset - 1, 0) : offset + 1] == "\r\n"
        assert chunked.line_around(offset) == positions.line_around(plain, offset - inside)
    assert chunked.range_at(0, len(plain), encoding) == Range(
        Position(0, 0), positions.position_at(plain, len(plain), encoding)
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS, data=st.data(), line=st.integers(0, 80), character=st.integers(0, 300))
def test_the_offset_of_any_position(encoding, text, data, line, character):
    plain, chunked = edited(text, data)
    line = data.draw(st.sampled_from([line % chunked.line_count, line]))
    position = Position(line, character)
    assert chunked.offset_at(position, encoding) == positions.offset_at(plain, position, encoding)
    assert chunked.line_bounds(line) == positions.line_bounds(plain, line)


@pytest.mark.parametrize("line", ["abcdefg\n", "\n", "abcdefgh", "\r\n", "\r", "漢😀"])
def test_an_edit_leaves_all_other_chunks_alone(line):
    """An edit is quick because the chunks around it are the same objects."""
    before = Text.of(line * 500)
    after = before.replaced(400, 401, "x")
    shared = {*map(id, before._chunks)} & {*map(id, after._chunks)}
    assert len(shared) == len(before._chunks) - 1
