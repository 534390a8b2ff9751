"""Observing a server: where it is typed, what is timed, and errors of the server."""

from __future__ import annotations

import ast
import statistics
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_bench import parts
from palimpsest_bench.server import observe, stand_ins
from palimpsest_bench.server.client import Editor, Place
from palimpsest_engine import PalimpsestError

from .conftest import DOCUMENT


def test_the_document_is_python() -> None:
    ast.parse(DOCUMENT)


@pytest.mark.parametrize("keystrokes", [1, 7, 41, 200])
def test_typing_is_inside_the_code_of_lines(keystrokes: int) -> None:
    rows = DOCUMENT.split("\n")
    plan = observe.typing(DOCUMENT, keystrokes)
    assert len(plan) == keystrokes
    assert len(set(plan)) == keystrokes  # the same text twice would be answered from what is kept
    assert not any('"' in rows[line] for line, _ in plan)
    assert all(rows[line].startswith(so_far) and so_far.strip() and so_far != rows[line] for line, so_far in plan)


def test_cursors_are_behind_what_was_typed() -> None:
    plan, cursors = observe.typing(DOCUMENT, 9), observe.cursors(DOCUMENT, 9)
    for (line, so_far), cursor in zip(plan, cursors, strict=True):
        assert DOCUMENT[:cursor].split("\n")[-1] == so_far
        assert DOCUMENT[:cursor].count("\n") == line


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=300))
def test_percentiles_are_in_order_and_within_the_values(values: list[float]) -> None:
    found = observe.percentiles(values, 25, 50, 75, 95, 99)
    assert found.pop("samples") == len(values)
    assert found["p50"] == pytest.approx(statistics.median(values), abs=1e-3)
    assert list(found.values()) == sorted(found.values())
    assert min(values) - 1e-3 <= found["p25"]
    assert found["p99"] <= max(values) + 1e-3


def test_a_real_server_is_measured() -> None:
    seen = observe.observe(parts.SCRIPTED_SERVER, {}, DOCUMENT, 3)
    assert (seen.model, len(seen.keystrokes)) == ("scripted", 3)
    assert all(0 < each.first_answer_ms <= each.settled_ms for each in seen.keystrokes)
    assert 0 < seen.initialize_ms <= seen.ready_ms
    assert seen.memory_mb > 1


def test_the_typist_cuts_one_line_at_a_time() -> None:
    documents: list[str] = []

    def change(uri: str, version: int, start: Place, end: Place, text: str) -> None:
        rows = documents[-1].split("\n")
        row = rows[start[0]]
        assert start[0] == end[0]
        rows[start[0]] = row[: start[1]] + text + row[min(end[1], len(row)) :]
        documents.append("\n".join(rows))

    def put(uri: str, version: int | str, text: str) -> None:
        documents.append(text)

    editor = SimpleNamespace(
        finals={}, change=change, replace=put, open=lambda uri, language, text: documents.append(text)
    )
    typist = observe.Typist(editor)  # type: ignore[arg-type]
    for text in ("first\nsecond\nthird", "first\nsecond\nthird", "other\ntext"):
        for line, so_far in ((0, "fi"), (1, "sec"), (1, "s"), (0, "")):
            typist._cut(text, line, so_far)
            rows = text.split("\n")
            rows[line] = so_far
            assert documents[-1] == "\n".join(rows)
            typist._editor.change("", 0, (line, len(so_far)), (line, len(so_far)), "x")


def test_a_late_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool] = []
    ask = Editor.suggested

    async def noted(self: Editor, uri: str, cursor: Place) -> str:
        text = await ask(self, uri, cursor)
        answers.append(bool(text))
        return text

    monkeypatch.setattr(Editor, "suggested", noted)
    slow = stand_ins.command("scripted", script=["value"], steps=2, step_seconds=0.05)
    observe.observe(slow, {"answerWithinMs": 0}, DOCUMENT, 2)
    assert answers[::2] == [False] * len(answers[1::2])
    assert answers[1::2] == [True] * 6  # before the character and after it


def test_a_foretold_character_is_not_timed() -> None:
    _, so_far = observe.typing(DOCUMENT, 8)[0]
    seen = observe.observe(stand_ins.command("scripted", script=[so_far[-1] + "x"]), {}, DOCUMENT, 3)
    assert seen.foretold >= 1
    assert len(seen.keystrokes) <= 3


def test_an_empty_answer_with_nothing_to_come_is_not_waited_for() -> None:
    seen = observe.observe(stand_ins.command("scripted", script=[""]), {}, DOCUMENT, 3)
    assert (len(seen.keystrokes), seen.foretold) == (3, 0)


def test_a_server_whose_engine_fails_is_an_error() -> None:
    script = (
        "from palimpsest_engine import PalimpsestError; from palimpsest_server.cli import main\n"
        "def fail(settings): raise PalimpsestError('it is broken')\n"
        "main(['serve'], obj=fail)"
    )
    with pytest.raises(PalimpsestError, match="it is broken"):
        observe.observe((sys.executable, "-c", script), {}, DOCUMENT, 2)
