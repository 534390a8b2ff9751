"""`palimpsest eval`: what a checkpoint's fills are worth, in figures; can be stopped and resumed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from palimpsest_engine import EngineSettings
from palimpsest_engine.errors import DataError
from palimpsest_server.cli import engines

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint import Checkpoint
    from palimpsest_eval.problems import Problem
    from palimpsest_eval.systems import System

_SYSTEMS = ("chosen", "oracle", "fixed", "left-to-right", "left-to-right-ungated")
_FILE = click.Path(path_type=Path)
_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group("eval", short_help="Measure what a checkpoint's fills are worth.")
def command() -> None:
    """Measure what a checkpoint's fills are worth.

    Every table has the floors and the ceiling in it. A run that was stopped goes on with the same command.
    """


def _common(command: _Command) -> _Command:
    for option in (
        click.option("--out", required=True, type=_FILE, metavar="RESULTS.json", help="Where the results go."),
        click.option("--seed", type=click.IntRange(0, 2**16), default=0, show_default=True, help="Of the noise."),
        click.option(
            "--system",
            "choices",
            multiple=True,
            type=click.Choice(_SYSTEMS),
            help="What to test; may be given several times. [default: chosen]",
        ),
        click.option(
            "--threads", type=click.IntRange(1), metavar="N", help="CPU threads. [default: as the engine does]"
        ),
    ):
        command = option(command)
    return engines.engine_options(command)


@command.command("humaneval", short_help="Execute tests on filled programs.")
@click.argument("file", type=_FILE)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N problems, spread over the file.")
@_common
def humaneval(file: Path, limit: int | None, **options: Any) -> None:
    """Fill the problems of FILE and run their tests: HumanEval-Infilling, or any JSON Lines of its shape.

    A row has task_id, prompt, suffix, test and entry_point, and canonical_solution. The programs run in a sandbox, which
    keeps accidents in; it is no security boundary against code that wants out. Only use files you trust.
    """
    from palimpsest_eval.problems import read

    problems = list(read(file))
    for problem in problems:
        if problem.test is None or problem.truth is None:
            raise DataError(f"{file}: the problem {problem.task_id} has no test or no canonical_solution")
    _run(spread(problems, limit), {"data": _named(file), "limit": limit}, execute=True, **options)


def spread(problems: Sequence[Problem], limit: int | None) -> list[Problem]:
    """So many of the problems, evenly over all of them."""
    if limit is None or limit >= len(problems):
        return list(problems)
    return [problems[i * len(problems) // limit] for i in range(limit)]


def _named(file: Path) -> dict[str, str]:
    from palimpsest_eval.results import digest

    return {"name": file.name, "sha256": digest(file)}


def _run(
    problems: list[Problem],
    what: dict[str, Any],
    *,
    execute: bool,
    checkpoint: str | None,
    device: str,
    threads: int | None,
    choices: tuple[str, ...],
    seed: int,
    out: Path,
) -> None:
    from palimpsest_engine.checkpoint import load
    from palimpsest_eval.systems import bounds, systems

    loaded = load(EngineSettings(checkpoint, device, threads=threads))
    choices = choices or (("left-to-right",) if loaded.spec.left_to_right else ("chosen",))
    tested = systems(choices, loaded) + bounds(known=all(problem.truth is not None for problem in problems))
    _measure(problems, tested, loaded, {**what, "seed": seed}, [seed], out, execute=execute)


def _measure(
    problems: list[Problem],
    tested: list[System],
    loaded: Checkpoint,
    what: dict[str, Any],
    seeds: list[int],
    out: Path,
    *,
    execute: bool,
) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from palimpsest_eval import report, results
    from palimpsest_eval.execute import Limits, Sandbox
    from palimpsest_eval.run import evaluate

    limits = Limits()
    settings = {
        **what,
        "problems": len(problems),
        "systems": [system.name for system in tested],
        "checkpoint": results.described(loaded),
        "seconds": limits.seconds if execute else None,
        "commit": results.commit(),
    }
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(limits)) if execute else None
        about = results.about(sys.argv[1:])
        if sandbox is not None:
            about |= {"network": sandbox.network, "user": sandbox.user}
            click.echo(
                f"palimpsest: programs a model wrote are run, as {sandbox.user}, kept off the network by {sandbox.network}; "
                "that stops accidents, not malice",
                err=True,
            )
        journal = stack.enter_context(results.Journal(out, settings, about))
        progress = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
        bar = progress.add_task("eval", total=len(problems) * len(tested) * len(seeds))
        try:
            evaluate(problems, tested, journal, sandbox, seeds, lambda rows: progress.advance(bar, rows))
        except KeyboardInterrupt:
            progress.stop()
            click.echo(f"palimpsest: {len(journal.done)} rows are kept; the same command goes on", err=True)
            raise
        finished = journal.finish()
    click.echo(report.summary(finished))
