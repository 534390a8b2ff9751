"""The systems under test answer as the engine does; the same problem and seed give the same answer."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_engine.checkpoint.spec import Chat, known_turns
from palimpsest_engine.errors import DataError
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.request import Fill
from palimpsest_eval.corrupted import wrong_words
from palimpsest_eval.measures import measured, parses, similarity
from palimpsest_eval.problems import Problem
from palimpsest_eval.sweep import grid, varied
from palimpsest_eval.systems import CEILING, FLOORS, Filled, TouchedUp, bounds, systems

ALL = ("chosen", "denoised", "both", "oracle", "fixed", "left-to-right", "left-to-right-ungated")


def test_the_chosen_length_is_the_engine_itself(checkpoint: Checkpoint, problems: list[Problem]) -> None:
    (system,) = systems(["chosen"], checkpoint)
    engine = Filler(checkpoint)
    for seed, problem in enumerate(problems):
        *_, fill = engine.fill(problem.request(seed))
        assert isinstance(fill, Fill)
        answer = system.fill(problem, seed)
        assert (answer.text, answer.nfe, answer.treatment) == (fill.texts[0], fill.nfe, fill.treatment)


def test_every_system_repeats_itself_whatever_was_filled_before(
    checkpoint: Checkpoint, problems: list[Problem]
) -> None:
    tested = systems(ALL, checkpoint)
    assert [system.name for system in tested] == [
        "chosen length",
        "denoised, chosen length",
        "denoised and left to right, ranked",
        "oracle length",
        "oracle length, best of 2",
        "fixed length 4",
        "fixed length 8",
        "left to right",
        "left to right, no gate",
    ]
    for system in tested:
        first = [replace(system.fill(problem, 3), ms=0, repair_ms=0) for problem in problems]
        again = [replace(system.fill(problem, 3), ms=0, repair_ms=0) for problem in reversed(problems)]
        assert first == again[::-1]
        assert all("\n" not in answer.text for answer in first)


def test_the_oracle_knows_the_tokens_and_uses_no_filler(checkpoint: Checkpoint, problems: list[Problem]) -> None:
    (oracle, best) = systems(["oracle"], checkpoint, as_users=False)
    tokens = Filler(checkpoint).tokens
    for problem in problems:
        healed = "\n"
        wanted = len(tokens.encode(healed + (problem.truth or "")))
        (written,) = oracle.fill(problem, 0).candidates
        assert 0 < len(tokens.encode(healed + written)) <= 2 * wanted + 8  # what was written may be encoded otherwise
        assert 1 <= len(best.fill(problem, 0).candidates) <= 2


def test_the_ungated_system_answers_with_the_gates_input(checkpoint: Checkpoint, problems: list[Problem]) -> None:
    gated, ungated = systems(["left-to-right", "left-to-right-ungated"], checkpoint)
    for problem in problems:
        one, other = gated.fill(problem, 0), ungated.fill(problem, 0)
        assert other.text == one.candidates[0]
        assert one.text in ("", other.text) or one.treatment == "cut"


def test_a_control_goes_left_to_right_only(control: Path, problems: list[Problem]) -> None:
    loaded = load(EngineSettings(str(control), device="cpu", dtype="float32", threads=1))
    (system,) = systems(["left-to-right"], loaded)
    assert system.fill(problems[0], 0).nfe > 0


def test_floors_and_ceiling(problems: list[Problem]) -> None:
    empty, stop, above = (floor.fill(problems[2], 0).text for floor in FLOORS)
    assert (empty, stop, above) == ("", "    pass", "    c = 2")
    assert CEILING.fill(problems[2], 0).text == "    d = a + b"
    assert [system.name for system in bounds(known=False)] == ["empty", "pass", "line above"]
    inside = Problem("x", "a = 1\n\nb = ", "\n", "2")
    assert [floor.fill(inside, 0).text for floor in FLOORS] == ["", "pass", "a = 1"]
    assert [floor.fill(Problem("x", "", "\n", "  2"), 0).text for floor in FLOORS] == ["", "  pass", "  "]


def test_measures(problems: list[Problem], sandbox) -> None:
    rows = {
        system.name: measured(system.name, problems[0], 0, system.fill(problems[0], 0), sandbox)
        for system in (*FLOORS, CEILING)
    }
    assert {name: row.passed for name, row in rows.items()} == {
        "empty": False,
        "pass": False,
        "line above": False,
        "truth": True,
    }
    assert rows["empty"].outcome == "NameError"
    assert (rows["truth"].exact, rows["truth"].similarity, rows["truth"].parses) == (True, 1.0, True)
    assert (rows["empty"].parses, rows["empty"].raw, rows["pass"].raw_parse) == (None, 0, 1)
    untested = measured("x", Problem("x", "a", "", None), 0, FLOORS[1].fill(problems[0], 0), sandbox)
    assert (untested.passed, untested.exact, untested.similarity) == (None, None, None)


def test_similarity_and_parsing() -> None:
    assert similarity(" abcd\n", "abcd") == 1.0
    assert similarity("abcd", "wxyz") == 0.0
    assert similarity("abxx", "abyy") == 0.5
    problem = Problem("x", "x = ", "\n", "1")
    assert [parses(problem, text) for text in ("1", "(", "")] == [True, False, False]
    assert parses(replace(problem, language=None), "1") is None


def test_a_grid_is_every_combination() -> None:
    assert grid(["max_steps=4,8", "pins=2"]) == [{"max_steps": "4", "pins": "2"}, {"max_steps": "8", "pins": "2"}]
    assert grid([]) == [{}]
    for wrong in ("steps=4", "max_steps", "max_steps=", "max_steps=4,"):
        with pytest.raises(DataError, match="KEY=VALUE"):
            grid([wrong])


def test_settings_of_a_sweep_reach_the_engine(checkpoint: Checkpoint, problems: list[Problem]) -> None:
    point = {
        "max_steps": "1",
        "t_max": "0.9",
        "pins": "3",
        "prune": "1:1+2:1",
        "steps_by_size": "2:1+4:3",
        "hole_sizes": "8+2",
        "length_power": "0",
        "near": "1+0.75",
        "still": "3",
        "unsure": "0.2",
        "again": "2",
        "whole_canvas": "true",
    }
    system = varied(checkpoint, point)
    assert isinstance(system, Filled)
    spec = system.filler.spec
    assert (spec.sampling.max_steps, spec.sampling.t_max, spec.pins, spec.length_power) == (1, 0.9, 3, 0.0)
    assert (spec.sampling.still, spec.sampling.unsure, spec.sampling.again) == (3, 0.2, 2)
    assert varied(checkpoint, {"still": "none", "unsure": "none"}).filler.spec.sampling == checkpoint.spec.sampling
    assert (spec.near, spec.whole_canvas) == ((1.0, 0.75), True)
    assert (spec.prune, spec.hole_sizes) == (((1, 1), (2, 1)), (2, 8))
    assert spec.steps_by_size == ((2, 1), (4, 3))
    lines = replace(checkpoint, spec=replace(checkpoint.spec, blank_line_candidates=3))
    assert varied(lines, {"causal_candidates": "2"}).filler.spec.blank_line_candidates is None
    by_size = replace(checkpoint, spec=replace(checkpoint.spec, steps_by_size=((2, 1),)))
    assert [varied(by_size, point).filler.spec.steps(2) for point in ({}, {"max_steps": "3"})] == [1, 3]
    assert system.name.startswith("max_steps 1, t_max 0.9")
    system.fill(problems[0], 0)
    assert checkpoint.spec.sampling.max_steps == 2
    assert varied(checkpoint, {"prune": "none", "candidates": "3"}).fill(problems[0], 0).candidates
    assert varied(checkpoint, {}).name == "as it is"
    with pytest.raises(DataError, match="max_steps cannot be x"):
        varied(checkpoint, {"max_steps": "x"})
    with pytest.raises(DataError, match="prune cannot be 3"):
        varied(checkpoint, {"prune": "3"})


def test_both_templates_of_a_chat_can_be_compared(checkpoint: Checkpoint, tmp_path: Path) -> None:
    own = "{{ bos_token }}Q {{ messages[0].content }}{{ ' thinking' if enable_thinking }}"
    (tmp_path / "chat_template.jinja").write_text(own, "utf-8")
    chatting = replace(checkpoint, folder=tmp_path)
    turns = {
        "thought": (known_turns(Chat("thought")), known_turns(Chat("thought", thinking=True))),
        "plain": (known_turns(Chat("plain")), known_turns(Chat("plain", thinking=True))),
        "folder": (("<bos>Q ", ""), ("<bos>Q ", " thinking")),
    }
    for template, (quiet, thinking) in turns.items():
        for value, expected in (("false", quiet), ("true", thinking)):
            system = varied(chatting, {"template": template, "thinking": value})
            assert isinstance(system, Filled)
            chat = system.filler.spec.chat
            assert (chat.turns or known_turns(chat)) == expected
    for key in ("template", "thinking"):
        with pytest.raises(DataError, match=f"{key} cannot be x"):
            varied(chatting, {key: "x"})


def test_a_wrong_word_is_of_the_kind_of_the_right_one(problems: list[Problem]) -> None:
    made = list(wrong_words(problems, 1))
    assert made == list(wrong_words(problems, 1))
    assert made
    for problem in made:
        assert problem.truth is not None
        assert problem.kind == "wrong word"
        right, wrong = (re.findall(r"[^\W\d]\w*|\d+|[^\w\s]+", each) for each in (problem.truth, problem.present))
        ((one, other),) = ((a, b) for a, b in zip(right, wrong, strict=True) if a != b)
        assert (one[0].isdigit(), one.isidentifier()) == (other[0].isdigit(), other.isidentifier())
        assert other in problem.prompt + problem.suffix
    assert list(wrong_words([replace(problems[0], truth=None)], 1)) == []
    assert list(wrong_words([replace(problems[0], truth="a\nb")], 1)) == []


def test_touching_up_starts_from_what_stands_there(checkpoint: Checkpoint, problems: list[Problem]) -> None:
    problem = replace(problems[0], present="total = 1 + 2")
    request = problem.request(0, strength=0.3)
    assert request.text[request.holes[0].start : request.holes[0].end] == "total = 1 + 2"
    system = TouchedUp("strength 0.3", Filler(checkpoint), 0.3)
    answer = system.fill(problem, 0)
    assert answer.text
    assert replace(answer, ms=0) == replace(system.fill(problem, 0), ms=0)
