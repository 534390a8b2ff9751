"""Scenarios of the shape of cursortab's, their score, and replies of the shape of those that it recorded."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palimpsest_engine.changes import Change, NextEdit, NextEditQuestion
from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_engine.request import Span
from palimpsest_eval.next_edit import cursortab, scenarios
from palimpsest_eval.next_edit.chrf import chrf
from palimpsest_eval.next_edit.walking import Propose

LOUD = """A name changes: see below.
id: loud
language: python
file: a.py
row: 2
col: 3
-- buffer.txt --
size = 1
é = width
print(width)
-- history --
<|file|> a.py
<|old|>
width = 1
<|new|>
size = 1
<|file|> a.py
<|old|>
gone
<|new|>
never there
-- steps --
request-completion manual
  expect shown
accept
request-completion manual
-- expected --
size = 1
é = size
print(size)
"""
QUIET = """Nothing is due.
id: quiet
language: python
file: b.py
row: 1
col: 0
cursor-positions: 2:1, 2:2
-- buffer.txt --
a = 1
b = 2
-- steps --
request-completion manual
"""
FOR_OTHERS = QUIET.replace("cursor-positions: 2:1, 2:2", "targets: mercuryapi")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("1-loud", LOUD), ("2-quiet", QUIET), ("3-others", FOR_OTHERS)):
        (tmp_path / f"{name}.txtar").write_text(text, "utf-8")
        (tmp_path / name).mkdir()
    return tmp_path


def record(folder: Path, target: str, reply: object, request: object = None) -> None:
    rows: list[dict[str, object]] = [{"kind": "meta", "schema_version": 1}]
    for kind, body in (("request", request), ("response", reply)):
        rows.append({"kind": kind, "interaction": 0, "body_b64": base64.b64encode(json.dumps(body).encode()).decode()})
    (folder / f"{target}.ndjson").write_text("\n".join(map(json.dumps, rows)), "utf-8")


def test_scenarios_are_read_with_each_position_of_the_cursor(folder: Path) -> None:
    read = scenarios.read(folder)
    assert [(each.name, each.row, each.column) for each in read] == [
        ("loud", 2, 3),
        ("quiet", 1, 0),
        ("quiet", 2, 1),
        ("quiet", 2, 2),
        ("quiet", 1, 0),
    ]
    assert read[0].requests == 2
    assert [each.targets for each in read[3:]] == [(), ("mercuryapi",)]


def test_a_question_has_the_history_where_it_stands(folder: Path) -> None:
    question = scenarios.read(folder)[0].question(30)
    assert question.cursor == len("size = 1\né ")
    assert question.changes == (
        Change("a.py", None, "gone\n", "never there\n"),
        Change("a.py", 0, "width = 1\n", "size = 1\n"),
    )


def renamed(question: NextEditQuestion) -> tuple[NextEdit, ...]:
    text = question.documents[0].text
    places = [at for at in range(len(text)) if text.startswith("width", at)]
    return tuple(NextEdit("a.py", Span(at, at + 5), "size", "rename", "renamed") for at in places)


@pytest.mark.parametrize(
    ("way", "written"),
    [
        pytest.param(cursortab.first_shown, "é = size", id="the first edit"),
        pytest.param(cursortab.all_shown, "é = size\nprint(size)", id="all of them"),
        pytest.param(cursortab.accepted_in_turn, "é = size\nprint(size)", id="one after the other"),
    ],
)
def test_the_score_is_that_of_what_is_shown(folder: Path, way: Callable[[Propose], Any], written: str) -> None:
    score = cursortab.summed_up(list(cursortab.asked(scenarios.read(folder), way(renamed), 30)))
    quality = chrf(written, "é = size\nprint(size)")
    assert score == cursortab.Score(pytest.approx(quality / 100), pytest.approx(quality), 1.0, 1.0)


def test_silence_everywhere_scores_nothing(folder: Path) -> None:
    silent = cursortab.all_shown(lambda question: ())
    assert cursortab.summed_up(list(cursortab.asked(scenarios.read(folder), silent, 30))).score == 0.0


def test_a_reply_that_rewrites_a_region_is_put_there(folder: Path) -> None:
    file = "<|current_file_content|>\ncurrent_file_path: a.py\nsize = 1\n"
    region = f"{file}<|code_to_edit|>\né =<|cursor|> width\nprint(width)\n<|/code_to_edit|>\n"
    reply = {"choices": [{"message": {"content": "```\né = size\nprint(size)\n```"}}]}
    record(folder / "1-loud", "mercuryapi", reply, {"messages": [{"content": region}]})
    scored = list(cursortab.replayed(scenarios.read(folder), "mercuryapi"))
    assert [(each.shown, each.chrf) for each in scored] == [(True, 100.0), *[(False, None)] * 4]


@pytest.mark.parametrize(
    ("said", "scored"),
    [
        pytest.param("é = size\nprint(size)<|user_cursor|>\n", (True, 100.0), id="another region"),
        pytest.param("é = width\nprint(width)\n", (False, 0.0), id="the same"),
        pytest.param("NO_EDITS\n", (False, 0.0), id="no edits"),
    ],
)
def test_a_reply_in_place_of_what_is_current_is_put_there(folder: Path, said: str, scored: tuple[bool, float]) -> None:
    file = "<filename>edit_history\n--- a/a.py\n\n<filename>a.py\nsize = 1\n"
    prompt = f"{file}<<<<<<< CURRENT\né =<|user_cursor|> width\nprint(width)\n=======\n<[fim-middle]>"
    record(folder / "1-loud", "zeta-2", {"choices": [{"text": said}]}, {"prompt": prompt})
    first = next(cursortab.replayed(scenarios.read(folder), "zeta-2"))
    assert (first.shown, first.chrf) == scored


def test_a_reply_with_edits_is_applied_in_units_of_utf_16(folder: Path) -> None:
    whole = {"start": {"line": 1, "character": 4}, "end": {"line": 2, "character": 11}}
    record(folder / "1-loud", "copilot", [{"range": whole, "text": "size\nprint(size"}])
    record(folder / "2-quiet", "copilot", [])
    scored = list(cursortab.replayed(scenarios.read(folder), "copilot"))
    assert [(each.shown, each.chrf) for each in scored] == [(True, 100.0), *[(False, None)] * 3]
    assert scenarios.targets(folder) == ["copilot"]


def test_published_figures_stand_beside_the_folder(folder: Path) -> None:
    (folder / "scenarios").mkdir()
    assert cursortab.published(folder / "scenarios") == {}
    row = {"score": 0.5, "deltaChrF": 50, "showRate": 1, "quietRate": 1}
    (folder / "baseline.json").write_text(json.dumps({"zeta": row}))
    assert cursortab.published(folder / "scenarios") == {"zeta": cursortab.Score(0.5, 50, 1, 1)}
    (folder / "baseline.json").write_text('{"zeta": {}}')
    with pytest.raises(DataError, match="no figures"):
        cursortab.published(folder / "scenarios")


def test_a_folder_without_scenarios_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentMissing, match="no scenarios"):
        scenarios.read(tmp_path)
    (tmp_path / "a.txtar").write_text("id: x\n-- steps --\n")
    with pytest.raises(DataError, match="not a scenario"):
        scenarios.read(tmp_path)
