"""Measures systems on problems: fills, tests, keeps a journal of the rows, and prints the tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palimpsest_engine import EngineSettings, open_engine
from palimpsest_eval.options import Options

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.load import Checkpoint
    from palimpsest_eval.problems import Problem
    from palimpsest_eval.systems import System


def named(file: Path) -> dict[str, Any]:
    """Return the name and the hash of a data file, as results have them."""
    from palimpsest_eval.results import digest

    return {"name": file.name, "sha256": digest(file)}


def chosen(choices: tuple[str, ...], *, as_users: bool = True) -> Callable[[Checkpoint], list[System]]:
    """Return a function from a checkpoint to the chosen systems; the default is the checkpoint's own way of writing."""
    from palimpsest_eval.systems import systems

    def tested(checkpoint: Checkpoint) -> list[System]:
        control = checkpoint.spec.left_to_right
        if control and not all(choice.startswith("left-to-right") for choice in choices):
            raise click.UsageError(
                f"{checkpoint.spec.name} is a left-to-right control and can only write left to right"
            )
        usual = ("left-to-right",) if control else ("chosen",)
        return systems(choices or usual, checkpoint, as_users=as_users)

    return tested


def measure(
    options: Options,
    problems: Sequence[Problem],
    data: dict[str, Any],
    tested: Callable[[Checkpoint], list[System]],
    *,
    execute: bool,
    experiment: str = "systems",
    seeds: int = 1,
    floors: Sequence[System] | None = None,
) -> None:
    """Load the checkpoint, fill the problems, measure, write the results, and print the tables."""
    from palimpsest_eval import report, results
    from palimpsest_eval.execute import Limits, Sandbox
    from palimpsest_eval.run import evaluate
    from palimpsest_eval.systems import Asked, bounds

    checkpoint, limits = options.load(), Limits()
    systems = tested(checkpoint)
    if options.endpoint is not None:
        served = open_engine(EngineSettings(endpoint=options.endpoint))
        systems.append(Asked("over HTTP", served))
    systems += floors or bounds(known=all(problem.truth is not None for problem in problems))
    chosen_seeds = [options.seed + number for number in range(seeds)]
    settings = {
        "experiment": experiment,
        "data": data,
        "problems": len(problems),
        "seeds": chosen_seeds,
        "systems": [system.name for system in systems],
        "checkpoint": results.described(checkpoint, options.adapter),
        "seconds": limits.seconds if execute else None,
        "commit": results.commit(),
    }
    with ExitStack() as stack:
        if options.endpoint is not None:
            stack.callback(served.close)
        about, sandbox = results.about(sys.argv[1:]), None
        if execute:
            sandbox = stack.enter_context(Sandbox(limits))
            about |= {"network": sandbox.network, "user": sandbox.user, "files": sandbox.files}
            click.echo(
                f"palimpsest: running programs that a model wrote, as {sandbox.user}, kept off the network by "
                f"{sandbox.network}; they can read {sandbox.files}. This stops accidents, not malice",
                err=True,
            )
        journal = stack.enter_context(results.Journal(options.out, settings, about))
        advanced = stack.enter_context(_progress(len(problems) * len(systems) * len(chosen_seeds)))
        try:
            evaluate(problems, systems, journal, sandbox, chosen_seeds, advanced)
        except KeyboardInterrupt:
            click.echo(f"palimpsest: {len(journal.done)} rows are kept; the same command goes on", err=True)
            raise
        finished = journal.finish()
    for table in report.tables([finished]):
        click.echo(
            "\n\n".join(part for part in (report.main_table(table), report.gap(table), report.by_kind(table)) if part)
        )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, and yield the function that advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("eval", total=total)
        yield lambda rows: progress.advance(bar, rows)
