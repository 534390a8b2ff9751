"""`palimpsest eval instruct`: measure how well lines are rewritten as an instruction says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palimpsest_engine import EngineSettings
from palimpsest_engine.errors import DocumentMissing, PalimpsestError

if TYPE_CHECKING:
    from palimpsest_engine import Engine

_PATH = click.Path(path_type=Path)


@click.command("instruct", short_help="Measure rewriting as an instruction says.")
@click.argument("files", nargs=-1, type=_PATH, metavar="[LANGUAGE.toml...]")
@click.option("--set", "sets", multiple=True, type=_PATH, metavar="SET.jsonl", help="Programs of others, with tests.")
@click.option("--model", help="A name, a folder or a GGUF file. [default: the chosen one]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N cases of each file, spread over it.")
@click.option("--out", required=True, type=_PATH, metavar="RESULTS.json", help="File for the results.")
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    sets: tuple[Path, ...],
    model: str | None,
    device: str,
    limit: int | None,
    out: Path,
) -> None:
    """Rewrite the selections of the cases as their instructions say, and run the results; fixtures/instruct has some.

    A line of SET.jsonl is an object with `before`, `after`, `tests` and `instruction`, or several `instruction_...`; all of
    `before` is selected. Rows whose tests fail with `after` on this machine are left out.

    Programs run in a sandbox that stops accidents and is no security boundary.
    """
    from palimpsest_eval.instruct import cases, open_set, tables
    from palimpsest_eval.instruct.measuring import measured
    from palimpsest_eval.instruct.programs import Programs, missing
    from palimpsest_eval.next_edit.results import write
    from palimpsest_eval.problems import spread
    from palimpsest_eval.results import about, commit, digest
    from palimpsest_server.cli import engines

    if not out.parent.is_dir():
        raise DocumentMissing(f"there is no folder {out.parent}")
    if not files and not sets:
        raise click.UsageError("name files of cases, or a set")
    whole = [cases.read(file) for file in files]
    read = [case for each in whole for case in spread(each, limit)]
    others = [case for file in sets for case in spread(open_set.read(file), limit)]
    for language in dict.fromkeys(case.language for case in (*read, *others)):
        if program := missing(language):
            raise PalimpsestError(f"cases in {language} need {program}, which is not on this machine")
    with engines.opened(ctx.obj, EngineSettings(model, device)) as engine, Programs() as programs:
        name = _instructed(engine)
        sound = [case for case in others if programs.passes(case.language, case.program(case.reference))]
        if left_out := len(others) - len(sound):
            click.echo(f"{left_out} of {len(others)} cases are left out: their tests fail with `after` here.", err=True)
        read += sound
        with click.progressbar(measured(read, engine, programs), length=len(read), file=sys.stderr) as rows:
            found = list(rows)
    settings = {
        "experiment": "instruct",
        "data": [{"name": file.name, "sha256": digest(file)} for file in (*files, *sets)],
        "limit": limit,
        "model": name,
        "commit": commit(),
    }
    write(out, settings, about(sys.argv[1:]), {"rows": [row.as_json() for row in found]})
    halves = cases.choosing(case for each in whole for case in each) if not sets else ()  # sets of others have none
    click.echo("\n".join(tables.by_part(found, halves)))


def _instructed(engine: Engine) -> str:
    """Wait for the model and return its name. Raises PalimpsestError if it follows no instructions."""
    import time

    engine.warm()
    while (status := engine.status()).state in ("starting", "loading"):
        time.sleep(0.05)
    if status.state == "error":
        raise PalimpsestError(status.reason)
    if not status.instructs:
        raise PalimpsestError(f"the model {status.model} was not taught to follow instructions")
    return status.model
