"""`palimpsest eval next-edit`: measure what is offered after a change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palimpsest_engine.errors import DocumentMissing

if TYPE_CHECKING:
    from palimpsest_engine.changes import NextEdit, NextEditQuestion
    from palimpsest_eval.next_edit.cursortab import Score
    from palimpsest_eval.next_edit.walking import Propose

_PATH = click.Path(path_type=Path)


@click.command("next-edit", short_help="Measure what is offered after a change.")
@click.argument("files", nargs=-1, type=_PATH, metavar="[CASES.jsonl]...")
@click.option(
    "--cursortab", type=_PATH, metavar="DIR", help="Also score cursortab's scenarios: its server/eval/scenarios."
)
@click.option("--budget", type=click.FloatRange(1), default=30.0, show_default=True, help="Milliseconds for a search.")
@click.option("--model", help="A model to ask where syntax decides nothing; a name, a folder or a GGUF file.")
@click.option("--out", required=True, type=_PATH, metavar="RESULTS.json", help="File for the results.")
def command(files: tuple[Path, ...], cursortab: Path | None, budget: float, model: str | None, out: Path) -> None:
    """Ask for next edits in the cases of CASES.jsonl and compare them with what is due; fixtures/next-edit has some.

    Each case is also walked through: what is right is accepted, and it is asked again until nothing is offered.
    """
    from palimpsest_engine import EngineSettings, open_engine
    from palimpsest_eval.next_edit import cases, results, tables
    from palimpsest_eval.next_edit.by_model import ByModel
    from palimpsest_eval.next_edit.measuring import measured
    from palimpsest_eval.results import about, commit, digest

    if not files and cursortab is None:
        raise click.UsageError("name a file of cases, or --cursortab")
    if not out.parent.is_dir():
        raise DocumentMissing(f"there is no folder {out.parent}")
    found: dict[str, Any] = {}
    propose: Propose = by_syntax
    if model is not None:
        propose = ByModel(open_engine(EngineSettings(checkpoint=model)))
        propose.opened()
    if files:
        read = [case for file in files for case in cases.read(file)]
        rows = list(measured(read, propose, budget))
        found |= results.of_rows(rows)
        click.echo("\n".join([*tables.by_eagerness(rows), "", *tables.by_part(rows)]))
    if cursortab is not None:
        scores = _scores(cursortab, budget, propose)
        found["cursortab"] = results.of_scores(scores)
        click.echo("\n".join(["", *tables.of_scores(scores)] if files else tables.of_scores(scores)))
    settings = {
        "experiment": "next edit",
        "data": [{"name": file.name, "sha256": digest(file)} for file in files],
        "budget_ms": budget,
        "model": model,
        "commit": commit(),
    }
    results.write(out, settings, about(sys.argv[1:]), found)


def by_syntax(question: NextEditQuestion) -> tuple[NextEdit, ...]:
    """Return the edits that syntax decides."""
    from palimpsest_engine import follow_ups

    return follow_ups(question).edits


def _scores(folder: Path, budget_ms: float, propose: Propose) -> dict[str, Score]:
    """Return our figures by eagerness and by what is shown at once, and those of others from their recorded replies."""
    from palimpsest_eval.next_edit import cursortab, scenarios
    from palimpsest_eval.next_edit.measuring import EAGERNESS, only
    from palimpsest_eval.next_edit.recorded import READERS

    read = scenarios.read(folder)
    scores: dict[str, Score] = {}
    ways = {
        "the first edit": cursortab.first_shown,
        "all edits of the answer": cursortab.all_shown,
        "one after the other": cursortab.accepted_in_turn,
    }
    for eagerness, allowed in EAGERNESS.items():
        for name, way in ways.items():
            scored = cursortab.asked(read, way(only(propose, allowed)), budget_ms)
            scores[f"`{eagerness}`, {name}"] = cursortab.summed_up(list(scored))
    for target in scenarios.targets(folder):
        if target in READERS:
            scores[f"{target}, recorded"] = cursortab.summed_up(list(cursortab.replayed(read, target)))
    return scores
