"""`palimpsest eval next-edit`: measure what is offered after a change."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palimpsest_engine.errors import DataError, DocumentMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from palimpsest_engine.changes import NextEdit, NextEditQuestion
    from palimpsest_eval.next_edit.cursortab import Score
    from palimpsest_eval.next_edit.repairing import Repair
    from palimpsest_eval.next_edit.replaying import Replay
    from palimpsest_eval.next_edit.walking import Propose
    from palimpsest_eval.problems import Problem

_PATH = click.Path(path_type=Path)


@click.command("next-edit", short_help="Measure what is offered after a change.")
@click.argument("files", nargs=-1, type=_PATH, metavar="[CASES.jsonl]...")
@click.option(
    "--cursortab", type=_PATH, metavar="DIR", help="Also score cursortab's scenarios: its server/eval/scenarios."
)
@click.option(
    "--corrupted", type=_PATH, metavar="FILE", help="Also mend lines with a wrong word; FILE is as for humaneval."
)
@click.option("--history", type=_PATH, metavar="REPO", help="Also replay the commits of a local git repository.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Only N problems of FILE, spread over it; the newest N of REPO.",
)
@click.option("--words-seed", type=int, default=1, show_default=True, help="Seed that chooses the wrong words.")
@click.option("--budget", type=click.FloatRange(1), default=30.0, show_default=True, help="Milliseconds for a search.")
@click.option("--model", help="A model to ask where syntax decides nothing; a name, a folder or a GGUF file.")
@click.option("--out", required=True, type=_PATH, metavar="RESULTS.json", help="File for the results.")
def command(
    files: tuple[Path, ...],
    cursortab: Path | None,
    corrupted: Path | None,
    history: Path | None,
    limit: int | None,
    words_seed: int,
    budget: float,
    model: str | None,
    out: Path,
) -> None:
    """Ask for next edits in the cases of CASES.jsonl and compare them with what is due; fixtures/next-edit has some.

    Each case is also walked through: what is right is accepted, and it is asked again until nothing is offered.
    With --corrupted the tests of FILE are run, in a sandbox that stops accidents and is no security boundary.
    """
    from palimpsest_eval.next_edit import cases, results, tables
    from palimpsest_eval.next_edit.by_model import ByModel
    from palimpsest_eval.next_edit.history import head
    from palimpsest_eval.next_edit.measuring import measured
    from palimpsest_eval.problems import read as problems_of
    from palimpsest_eval.problems import spread
    from palimpsest_eval.results import about, commit, digest

    if not files and cursortab is None and corrupted is None and history is None:
        raise click.UsageError("name a file of cases, --cursortab, --corrupted or --history")
    if not out.parent.is_dir():
        raise DocumentMissing(f"there is no folder {out.parent}")
    found: dict[str, Any] = {}
    propose = by_syntax if model is None else ByModel.named(model)
    told: list[Iterable[str]] = []
    if files:
        read = [case for file in files for case in cases.read(file)]
        rows = list(measured(read, propose, budget))
        found |= results.of_rows(rows)
        told += [tables.by_eagerness(rows), tables.by_part(rows)]
    if cursortab is not None:
        scores = _scores(cursortab, propose, budget)
        found["cursortab"] = results.of_scores(scores)
        told.append(tables.of_scores(scores))
    if corrupted is not None:
        problems = spread(list(problems_of(corrupted)), limit)
        if any(problem.test is None for problem in problems):
            raise DataError(f"{corrupted}: some problems have no test")
        repairs = _repairs(problems, propose, words_seed, budget)
        found["repairs"] = [each.as_json() for each in repairs]
        told.append(tables.of_repairs(repairs))
    if history is not None:
        replays = _replays(history, propose, limit, budget)
        found["history"] = results.of_replays(replays)
        told += [tables.of_replays(replays), tables.of_kinds(replays)]
    settings = {
        "experiment": "next edit",
        "data": [{"name": file.name, "sha256": digest(file)} for file in (*files, *([corrupted] if corrupted else []))],
        "words_seed": words_seed,
        "budget_ms": budget,
        "model": model,
        "commit": commit(),
        "history": None if history is None else {"name": history.name, "head": head(history), "commits": limit},
    }
    results.write(out, settings, about(sys.argv[1:]), found)
    click.echo("\n\n".join("\n".join(table) for table in told))


def by_syntax(question: NextEditQuestion) -> tuple[NextEdit, ...]:
    """Return the edits that syntax decides. A model that decides others comes in here."""
    from palimpsest_engine import follow_ups

    return follow_ups(question).edits


def _scores(folder: Path, ask: Propose, budget_ms: float) -> dict[str, Score]:
    """Return our figures by eagerness and by what is shown at once, and those of others from their recorded replies."""
    from palimpsest_eval.next_edit import cursortab, scenarios
    from palimpsest_eval.next_edit.measuring import EAGERNESS, only
    from palimpsest_eval.next_edit.recorded import READERS

    read, remembered = scenarios.read(folder), lru_cache(None)(ask)
    scores: dict[str, Score] = {}
    ways = {
        "the first edit": cursortab.first_shown,
        "all edits of the answer": cursortab.all_shown,
        "one after the other": cursortab.accepted_in_turn,
    }
    for eagerness, allowed in EAGERNESS.items():
        for name, way in ways.items():
            scored = cursortab.asked(read, way(only(remembered, allowed)), budget_ms)
            scores[f"`{eagerness}`, {name}"] = cursortab.summed_up(list(scored))
    for target in scenarios.targets(folder):
        if target in READERS:
            scores[f"{target}, recorded"] = cursortab.summed_up(list(cursortab.replayed(read, target)))
    return scores | {f"{name}, published": score for name, score in cursortab.published(folder).items()}


def _repairs(problems: Sequence[Problem], ask: Propose, seed: int, budget_ms: float) -> list[Repair]:
    """Return what comes of programs with a wrong word, whose tests are run."""
    from palimpsest_eval.execute import Limits, Sandbox
    from palimpsest_eval.next_edit.repairing import repaired

    with Sandbox(Limits()) as sandbox:
        return list(repaired(problems, ask, lambda program: sandbox.run(program).passed, seed, budget_ms))


def _replays(repository: Path, ask: Propose, limit: int | None, budget_ms: float) -> list[Replay]:
    """Return what is offered in the middle of the newest commits of a repository."""
    from palimpsest_eval.next_edit.history import edited
    from palimpsest_eval.next_edit.replaying import SUFFIXES, replayed

    return list(replayed(edited(repository, SUFFIXES, limit), ask, budget_ms))
