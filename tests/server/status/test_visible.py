"""Texts for terminals: nothing in them that a terminal acts on or that nobody sees."""

from __future__ import annotations

import pytest

from palimpsest_server.status.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 😀\tand\nlines\r\n", "plain é 漢 😀\tand\nlines\r\n"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("over\rwritten\x08", r"over\x0dwritten\x08"),
        ("a\u202eb\u2066c\u200f", r"a\u202eb\u2066c\u200f"),
        ("\udcff\ufeff\u2028", r"\udcff\ufeff\u2028"),
        ("\x00\x7f\x0b\x0c", r"\x00\x7f\x0b\x0c"),
    ],
)
def test_terminals_are_told_nothing_but_text(text: str, shown: str) -> None:
    assert visible(text) == shown
