"""A denoiser's fills, run against tests."""

from __future__ import annotations

import json

from palimpsest_eval.execute import Sandbox
from palimpsest_eval.filled import outcomes, table


def test_fills_are_run_against_the_tests(tmp_path):
    problem = {"task_id": "p", "prompt": "def f(x):\n", "suffix": "", "canonical_solution": "    return x\n",
               "test": "def check(f):\n    assert f(3) == 3\n", "entry_point": "f"}  # fmt: skip
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n", "utf-8")
    good = {"text": "    return x", "tokens": 3, "confidence": -0.1, "sum": -1.0, "whole": -1.5}
    bad = good | {"text": "    return 4", "confidence": -0.5, "whole": -9.0}
    ways = {"left to right": bad, "size 4": bad, "size 8": good, "size 16": bad, "size 32": bad, "size 64": bad}
    (tmp_path / "fills.jsonl").write_text(json.dumps({"set": "s", "task_id": "p", "ways": ways}) + "\n", "utf-8")
    with Sandbox() as sandbox:
        passed = outcomes(
            tmp_path / "fills.jsonl", tmp_path / "problems.jsonl", lambda program: sandbox.run(program).passed
        )
    assert (passed["left to right"], passed["size 8"], passed["any size"]) == ([False], [True], [True])
    assert passed["ranked by likelihood"] == passed["ranked by confidence"] == [True]


def test_fills_that_do_not_parse_come_last(tmp_path):
    problem = {"task_id": "p", "prompt": "def f(x):\n", "suffix": "", "canonical_solution": "    return x\n",
               "test": "def check(f):\n    assert f(3) == 3\n", "entry_point": "f"}  # fmt: skip
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n", "utf-8")
    broken = {"text": "    return x)", "tokens": 4, "confidence": -0.1, "whole": -0.5}
    good = broken | {"text": "    return x", "whole": -2.0}
    ways = dict.fromkeys(("left to right", "size 4", "size 8", "size 16", "size 32"), broken) | {"size 64": good}
    (tmp_path / "fills.jsonl").write_text(json.dumps({"task_id": "p", "ways": ways}) + "\n", "utf-8")
    passed = outcomes(tmp_path / "fills.jsonl", tmp_path / "problems.jsonl", lambda program: ")\n\n" not in program)
    assert passed["ranked by likelihood"] == passed["both, ranked by likelihood"] == [False]
    assert passed["ranked by likelihood, what parses first"] == [True]
    assert passed["both, ranked by likelihood, what parses first"] == [True]


def test_ways_are_paired_with_left_to_right():
    passed = {"left to right": [True] * 2 + [False] * 8, "size 4": [False] + [True] * 9}
    lines = list(table(passed))
    assert lines[0].startswith("| way of filling, 10 problems")
    assert lines[2] == "| left to right | 20.0 % (5.7–51.0) | | |"
    assert lines[3] == "| size 4 | 90.0 % (59.6–98.2) | 8, 1 | 0.039 |"
