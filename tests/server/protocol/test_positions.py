"""Positions against a reference that counts one code point at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol.types import Position

from palimpsest_server.protocol import positions
from palimpsest_server.protocol.positions import Encoding

ENCODINGS = [Encoding.Utf8, Encoding.Utf16, Encoding.Utf32]
TEXTS = st.text(
    st.one_of(
        st.sampled_from("ab \t\r\n\x0b\x0c\x1c\x85\u2028\u0301éß漢😀𝒳"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
)


def width(char: str, encoding: Encoding) -> int:
    return {
        Encoding.Utf8: len(char.encode()),
        Encoding.Utf16: len(char.encode("utf-16-le")) // 2,
        Encoding.Utf32: 1,
    }[encoding]


def every_position(text: str, encoding: Encoding) -> list[Position | None]:
    """Return the position of every offset, None between \\r and \\n, by the specification's words alone."""
    found: list[Position | None] = []
    line = column = 0
    for at, char in enumerate(text):
        inside = char == "\n" and at > 0 and text[at - 1] == "\r"
        found.append(None if inside else Position(line, column))
        if char == "\n" or (char == "\r" and text[at + 1 : at + 2] != "\n"):
            line, column = line + 1, 0
        elif char != "\r":
            column += width(char, encoding)
    return [*found, Position(line, column)]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS)
def test_every_offset_has_its_position_and_back(encoding, text):
    for offset, position in enumerate(every_position(text, encoding)):
        if position is not None:
            assert positions.position_at(text, offset, encoding) == position
            assert positions.offset_at(text, position, encoding) == offset
        else:
            assert positions.position_at(text, offset, encoding) == positions.position_at(text, offset - 1, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=TEXTS, line=st.integers(0, 60), character=st.integers(0, 200))
def test_every_position_is_clamped_to_the_nearest_before_it(encoding, text, line, character):
    known = [(p.line, p.character, o) for o, p in enumerate(every_position(text, encoding)) if p is not None]
    last = known[-1]
    expected = last[2] if line > last[0] else max(k for k in known if k[:2] <= (line, character))[2]
    assert positions.offset_at(text, Position(line, character), encoding) == expected


@given(text=TEXTS, data=st.data())
def test_the_line_around_an_offset_is_the_line_of_its_position(text, data):
    offset = data.draw(st.integers(0, len(text)))
    if text[max(offset - 1, 0) : offset + 1] == "\r\n":
        return
    line = positions.position_at(text, offset, Encoding.Utf32).line
    assert positions.line_around(text, offset) == positions.line_bounds(text, line)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=st.text(st.sampled_from("a\n😀\ud83d\ude00"), max_size=12), character=st.integers(0, 40))
def test_lone_surrogates_do_no_harm(encoding, text, character):
    offset = positions.offset_at(text, Position(0, character), encoding)
    assert 0 <= offset <= len(text)
    positions.position_at(text, offset, encoding)


@pytest.mark.parametrize(
    ("text", "position", "encoding", "offset"),
    [
        ("x=😀;", Position(0, 3), Encoding.Utf16, 2),  # between the surrogates: the start of the character
        ("x=😀;", Position(0, 4), Encoding.Utf16, 3),
        ("x=😀;", Position(0, 5), Encoding.Utf8, 2),
        ("x=😀;", Position(0, 3), Encoding.Utf32, 3),
        ("a\r\nb", Position(0, 9), Encoding.Utf16, 1),
        ("a\rb", Position(1, 0), Encoding.Utf16, 2),
        ("a\x0cb\u2028c", Position(0, 4), Encoding.Utf16, 4),  # form feed and U+2028 end no line
        ("a\n", Position(1, 0), Encoding.Utf16, 2),
        ("a\n", Position(7, 3), Encoding.Utf16, 2),
        ("", Position(0, 0), Encoding.Utf16, 0),
    ],
)
def test_cases_that_go_wrong_easily(text, position, encoding, offset):
    assert positions.offset_at(text, position, encoding) == offset
