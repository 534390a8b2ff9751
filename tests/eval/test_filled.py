"""What a denoiser's run filled, run against tests."""

from __future__ import annotations

import json

from palimpsest_eval.execute import Sandbox
from palimpsest_eval.filled import pass_rates


def test_fills_are_run_against_the_tests(tmp_path):
    problem = {"task_id": "p", "prompt": "def f(x):\n", "suffix": "", "canonical_solution": "    return x\n",
               "test": "def check(f):\n    assert f(3) == 3\n", "entry_point": "f"}  # fmt: skip
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n", "utf-8")
    good = {"text": "    return x", "tokens": 3, "confidence": -0.1, "sum": -1.0, "whole": -1.5}
    bad = good | {"text": "    return 4", "confidence": -0.5, "whole": -9.0}
    ways = {"left to right": bad, "size 4": bad, "size 8": good, "size 16": bad, "size 32": bad, "size 64": bad}
    (tmp_path / "fills.jsonl").write_text(json.dumps({"set": "s", "task_id": "p", "ways": ways}) + "\n", "utf-8")
    with Sandbox() as sandbox:
        rates = pass_rates(
            tmp_path / "fills.jsonl", tmp_path / "problems.jsonl", lambda program: sandbox.run(program).passed
        )
    assert (rates["problems"], rates["left to right"], rates["size 8"], rates["any size"]) == (1, 0, 1, 1)
    assert rates["ranked by likelihood"] == rates["ranked by confidence"] == 1
