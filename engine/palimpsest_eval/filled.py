"""Runs what a denoiser's training run filled against the problems' tests: pass@1 of each way and ranking.

`python -m palimpsest_eval.filled fills.jsonl --problems FILE`. Reads the rows of `palimpsest_train.denoiser.evaluate`; knows
no model.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import click

from palimpsest_engine.errors import DataError, PalimpsestError
from palimpsest_eval.execute import Sandbox
from palimpsest_eval.problems import read
from palimpsest_train.denoiser.evaluate import RANKINGS, rank
from palimpsest_train.denoiser.recipe import SIZES

FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


def pass_rates(fills: Path, problems: Path, runs: Callable[[str], bool]) -> dict[str, float]:
    """pass@1 by way, of the rows whose problem has a test. runs: whether a program ends well.

    Raises DataError where there is nothing to read, or nothing of these problems in it.
    """
    try:
        rows = [json.loads(line) for line in fills.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{fills} holds no fills: {error}.") from error
    programs = {p.task_id: p.program for p in read(problems) if p.test is not None}
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
        raise DataError(f"None of the problems in {problems} was filled in {fills}.")
    return {"problems": count} | {name: round(number / count, 4) for name, number in passed.items()}


@click.command()
@click.argument("fills", type=FILE)
@click.option("--problems", type=FILE, required=True, help="The problems with their tests.")
def main(fills: Path, problems: Path) -> None:
    """Run what a denoiser's training run filled against the tests, in the sandbox."""
    try:
        with Sandbox() as sandbox:
            for name, rate in pass_rates(fills, problems, lambda program: sandbox.run(program).passed).items():
                click.echo(f"{name}: {rate}")
    except PalimpsestError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
