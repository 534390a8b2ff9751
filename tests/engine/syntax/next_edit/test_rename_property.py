"""Local variables of this repository's own files are renamed everywhere, as Python's symbol tables say, or not at all."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest_engine.changes import Change, NextEdit, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.next_edit.rename import rename
from palimpsest_engine.syntax.next_edit.scene import Scene

from .python_symbols import Symbol, Symbols

_ROOT = Path(__file__).parents[4]
_FILES = sorted((_ROOT / "engine" / "palimpsest_engine").rglob("*.py"))


def renamed(text: str, symbol: Symbol, new: str, places: int | None = None) -> str:
    """Return the text with the first places of a symbol renamed, or all."""
    lines = text.encode().split(b"\n")
    for line, column in sorted(symbol.places[:places], reverse=True):
        was = lines[line - 1]
        lines[line - 1] = was[:column] + new.encode() + was[column + len(symbol.name.encode()) :]
    return b"\n".join(lines).decode()


def follow(text: str, symbol: Symbol, new: str) -> tuple[str, list[NextEdit]]:
    """Rename the first place of a symbol; return the text with all edits that follow, and them."""
    now, line = renamed(text, symbol, new, 1), symbol.places[0][0] - 1
    before, after = (each.split("\n")[line] + "\n" for each in (text, now))
    start = sum(len(each) + 1 for each in now.split("\n")[:line])
    document = OpenDocument("file:///a.py", now, "python")
    question = NextEditQuestion((document,), (Change(document.name, start, before, after),), start, budget_ms=60_000)
    edits = list(dict.fromkeys(rename(Scene(question))))
    for edit in sorted(edits, key=lambda each: -each.span.start):
        now = now[: edit.span.start] + edit.text + now[edit.span.end :]
    return now, edits


def known(text: str) -> list[Symbol]:
    """Return the symbols whose names all have places; before 3.12, ast misplaces some inside of f-strings."""
    lines = text.encode().split(b"\n")
    return [
        each
        for each in Symbols(text)
        if each.known and each.defined_first and len(each.places) > 1
        if all(lines[line - 1][column:].startswith(each.name.encode()) for line, column in each.places)
    ]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_a_local_variable_is_renamed_everywhere_or_nowhere(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(_FILES)).read_text("utf-8")
    symbols = known(text)
    if symbols:
        symbol = data.draw(st.sampled_from(symbols))
        now, edits = follow(text, symbol, "another_name")
        assert not edits or now == renamed(text, symbol, "another_name")


def test_most_local_variables_are_renamed() -> None:
    chance = random.Random(1)
    drawn = [(text, chance.choice(known(text))) for text in (each.read_text("utf-8") for each in _FILES) if known(text)]
    whole = [bool(follow(text, symbol, "another_name")[1]) for text, symbol in drawn]
    assert sum(whole) >= 0.97 * len(whole), f"{sum(whole)} of {len(whole)}"
