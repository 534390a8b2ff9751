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
@click.argument("files", nargs=-1, required=True, type=_PATH, metavar="LANGUAGE.toml...")
@click.option("--model", help="A name, a folder or a GGUF file. [default: the chosen one]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N cases of each file, spread over it.")
@click.option("--out", required=True, type=_PATH, metavar="RESULTS.json", help="File for the results.")
@click.pass_context
def command(
    ctx: click.Context, files: tuple[Path, ...], model: str | None, device: str, limit: int | None, out: Path
) -> None:
    """Rewrite the selections of the cases as their instructions say, and run the results; fixtures/instruct has some.

    Programs run in a sandbox that stops accidents and is no security boundary.
    """
    from palimpsest_eval.instruct import cases, tables
    from palimpsest_eval.instruct.measuring import measured
    from palimpsest_eval.instruct.programs import Programs, missing
    from palimpsest_eval.next_edit.results import write
    from palimpsest_eval.problems import spread
    from palimpsest_eval.results import about, commit, digest
    from palimpsest_server.cli import engines

    if not out.parent.is_dir():
        raise DocumentMissing(f"there is no folder {out.parent}")
    read = [case for file in files for case in spread(cases.read(file), limit)]
    for language in dict.fromkeys(case.language for case in read):
        if program := missing(language):
            raise PalimpsestError(f"cases in {language} need {program}, which is not on this machine")
    with engines.opened(ctx.obj, EngineSettings(model, device)) as engine, Programs() as programs:
        name = _instructed(engine)
        with click.progressbar(measured(read, engine, programs), length=len(read), file=sys.stderr) as rows:
            found = list(rows)
    settings = {
        "experiment": "instruct",
        "data": [{"name": file.name, "sha256": digest(file)} for file in files],
        "limit": limit,
        "model": name,
        "commit": commit(),
    }
    write(out, settings, about(sys.argv[1:]), {"rows": [row.as_json() for row in found]})
    click.echo("\n".join(tables.by_part(found)))


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
