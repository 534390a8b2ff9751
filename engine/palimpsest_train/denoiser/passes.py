"""Runs what was filled against the problems' tests: pass@1 of each way and ranking. Reads `fills.jsonl`; knows no model."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from palimpsest_train.denoiser.evaluate import RANKINGS, rank
from palimpsest_train.denoiser.recipe import SIZES
from palimpsest_train.errors import TrainingError


def pass_rates(fills: Path, problems: Path, runs: Callable[[str], bool] | None = None) -> dict[str, float]:
    """pass@1 by way, of the rows whose problem has a test. runs: whether a program ends well; the evaluation's sandbox."""
    try:
        rows = [json.loads(line) for line in fills.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise TrainingError(f"{fills} holds no fills: {error}.") from error
    if runs is None:
        from palimpsest_eval.execute import Sandbox

        with Sandbox() as sandbox:
            return pass_rates(fills, problems, lambda program: sandbox.run(program).passed)
    programs = tested(problems)
    sizes = [f"size {size}" for size in SIZES]
    passed: dict[str, int] = defaultdict(int)
    count = 0
    for row in rows:
        if row["task_id"] not in programs:
            continue
        count += 1
        program, ways = programs[row["task_id"]], row["ways"]
        texts = {name: way["text"] for name, way in ways.items()}
        for by in RANKINGS:
            texts[f"ranked by {by}"] = rank(ways, by, sizes)
        for by in RANKINGS[:2]:
            texts[f"both, ranked by {by}"] = rank(ways, by, [*sizes, "left to right"])
        good = {text: runs(program(text)) for text in set(texts.values())}
        for name, text in texts.items():
            passed[name] += good[text]
        passed["any size"] += any(good[texts[name]] for name in sizes)
    if not count:
        raise TrainingError(f"None of the problems in {problems} was filled in {fills}.")
    return {"problems": count} | {name: round(number / count, 4) for name, number in passed.items()}


def tested(problems: Path) -> dict[str, Callable[[str], str]]:
    """By task, what makes a program of a fill."""
    from palimpsest_eval.problems import read

    return {problem.task_id: problem.program for problem in read(problems) if problem.test is not None}
