"""Runs what a denoiser's training run filled against the problems' tests: pass@1 of each way, paired with left to right.

`python -m palimpsest_eval.filled fills.jsonl --problems FILE`. Reads the rows of `palimpsest_train.denoiser.evaluate`; knows
no model.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from palimpsest_engine.errors import DataError, PalimpsestError
from palimpsest_eval.execute import Sandbox
from palimpsest_eval.problems import read
from palimpsest_eval.statistics import mcnemar, wilson
from palimpsest_train.denoiser.evaluate import RANKINGS, rank
from palimpsest_train.denoiser.recipe import SIZES

FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
BASELINE = "left to right"


def outcomes(fills: Path, problems: Path, runs: Callable[[str], bool]) -> dict[str, list[bool]]:
    """Return by way whether each fill passes, of the rows whose problem has a test. runs: whether a program ends well.

    Raises DataError where there is nothing to read, or nothing of these problems in it.
    """
    try:
        rows = [json.loads(line) for line in fills.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{fills} holds no fills: {error}.") from error
    tested = {problem.task_id: problem for problem in read(problems) if problem.test is not None}
    sizes = [f"size {size}" for size in SIZES]
    passed: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row["task_id"] not in tested:
            continue
        problem, ways = tested[row["task_id"]], row["ways"]
        texts = {name: way["text"] for name, way in ways.items()}
        for by in RANKINGS:
            texts[f"ranked by {by}"] = rank(ways, by, sizes)
        for by in RANKINGS[:2]:
            texts[f"both, ranked by {by}"] = rank(ways, by, [*sizes, BASELINE])
        for name, among in (("", sizes), ("both, ", [*sizes, BASELINE])):
            whole = [way for way in among if parses(problem.filled(texts[way]))]
            texts[f"{name}ranked by {RANKINGS[0]}, what parses first"] = rank(ways, RANKINGS[0], whole or among)
        good = {text: runs(problem.program(text)) for text in set(texts.values())}
        for name, text in texts.items():
            passed[name].append(good[text])
        passed["any size"].append(any(good[texts[name]] for name in sizes))
    if not passed:
        raise DataError(f"None of the problems in {problems} was filled in {fills}.")
    return passed


def parses(text: str) -> bool:
    """Tell whether a text is Python."""
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def table(passed: dict[str, list[bool]]) -> Iterator[str]:
    """Yield the lines of a Markdown table: pass@1 with Wilson's interval, and each way paired with left to right."""
    base = passed[BASELINE]
    yield f"| way of filling, {len(base)} problems | pass@1, 95 % interval | only this, only {BASELINE} | p (McNemar) |"
    yield "|---|---|---|---|"
    for name, good in passed.items():
        low, high = wilson(sum(good), len(good))
        rate = f"{100 * sum(good) / len(good):.1f} % ({100 * low:.1f}–{100 * high:.1f})"
        if name == BASELINE:
            yield f"| {name} | {rate} | | |"
            continue
        ours = sum(a and not b for a, b in zip(good, base, strict=True))
        theirs = sum(b and not a for a, b in zip(good, base, strict=True))
        yield f"| {name} | {rate} | {ours}, {theirs} | {mcnemar(ours, theirs):.2g} |"


@click.command()
@click.argument("fills", type=FILE)
@click.option("--problems", type=FILE, required=True, help="The problems with their tests.")
def main(fills: Path, problems: Path) -> None:
    """Run what a denoiser's training run filled against the tests, in the sandbox."""
    try:
        with Sandbox() as sandbox:
            for line in table(outcomes(fills, problems, lambda program: sandbox.run(program).passed)):
                click.echo(line)
    except PalimpsestError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
