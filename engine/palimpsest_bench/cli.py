"""`palimpsest bench`: measure the cost of a keystroke and of a denoising step on this machine.

`parts.py` measures; this module collects the figures in one JSON document and saves it after each part.
"""

from __future__ import annotations

import importlib.resources
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from palimpsest_bench.engine.random_models import SHAPES, Shape
from palimpsest_bench.failures import sentence
from palimpsest_bench.parts import PARTS, WITHOUT_A_CHECKPOINT
from palimpsest_bench.plan import Plan
from palimpsest_bench.sizing.cli import command as sizing
from palimpsest_engine import EngineSettings, PalimpsestError, __version__
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_server.cli import engines, files

_INTERRUPTED = 130
# Both `steps` and `peers` measure these; the figure of `steps`, which covers all contexts, is kept.
_KEPT = ("ratio_over_generate",)


@click.group("bench", invoke_without_command=True, short_help="Measure the cost of a keystroke.")
@click.option("--quick", is_flag=True, help="Fewer samples of everything: a first impression in some minutes.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(PARTS)), help="Measure only this part; may be given several times."
)
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    help="Measure random weights of this shape instead of a checkpoint; only the parts without a server.",
)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Begin no further part after so many minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--output", metavar="FILE", help="Save the JSON in this file, too, after each part.")
@click.option("--from", "source", metavar="FILE", help="Measure nothing: show a file that --output or --json wrote.")
@click.option("--table", is_flag=True, help="Print Markdown.")
@click.option("--plots", metavar="FOLDER", help="Draw curves as SVG in this folder. Needs matplotlib.")
@engines.engine_options
@engines.adapter_option
@click.pass_context
def command(
    ctx: click.Context,
    quick: bool,
    only: tuple[str, ...],
    shape: Shape | None,
    minutes: float | None,
    as_json: bool,
    output: str | None,
    source: str | None,
    table: bool,
    plots: str | None,
    checkpoint: str | None,
    device: str,
    adapter: str | None,
    quantization: Quantization = "none",
) -> None:
    """Measure the server by typing into documents, and the engine from inside."""
    if ctx.invoked_subcommand is not None:
        return
    if plots:
        from palimpsest_bench import plots as drawing

        drawing.check()
    if source:
        if quick or only or shape or minutes or output:
            raise click.UsageError(
                "--from measures nothing: leave --quick, --only, --shape, --minutes and --output out"
            )
        figures = read(source)
    else:
        settings = EngineSettings(checkpoint, device, adapter=adapter, quantization=quantization)
        figures = _measured(settings, quick, _chosen(only, shape), shape, minutes, output)
    if plots:
        for path in drawing.draw(figures, Path(plots)):
            click.echo(f"palimpsest: {path}", err=True)
    if as_json:
        click.echo(json.dumps(figures))
    else:
        from palimpsest_bench import tables

        tables.show(figures, markdown=table)
    _end(figures)


command.add_command(sizing)


def _chosen(only: Sequence[str], shape: Shape | None) -> Sequence[str]:
    if shape is None:
        return only or tuple(PARTS)
    if others := [part for part in only if part not in WITHOUT_A_CHECKPOINT]:
        raise click.UsageError(
            f"--shape works with {', '.join(WITHOUT_A_CHECKPOINT)}, but not with {others[0]}: "
            "a model of random weights cannot serve an editor"
        )
    return only or WITHOUT_A_CHECKPOINT


def _measured(
    settings: EngineSettings,
    quick: bool,
    only: Sequence[str],
    shape: Shape | None,
    minutes: float | None,
    output: str | None,
) -> dict[str, Any]:
    if shape is None:
        from palimpsest_engine.checkpoint.locate import locate

        locate(settings.checkpoint)  # fail now, not after some minutes
    click.echo("palimpsest: measuring; this takes minutes, and other work on this machine distorts it", err=True)
    if output:
        files.put(Path(output), "{}\n")
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes

    def keep(figures: dict[str, Any]) -> None:
        if output:
            files.put(Path(output), json.dumps(figures) + "\n")

    return measured(settings, quick, only, shape, until, keep)


def measured(
    settings: EngineSettings,
    quick: bool,
    only: Sequence[str],
    shape: Shape | None = None,
    until: float = float("inf"),
    keep: Callable[[dict[str, Any]], None] = lambda figures: None,
) -> dict[str, Any]:
    """Measure these parts and return their figures, as in `docs/json.md`.

    `keep` gets the figures after each part. A part that fails, or that would begin later than `until`, gets a sentence
    under `errors`.
    """
    document = importlib.resources.files(__package__).joinpath("document.txt").read_text("utf-8")
    plan = Plan(settings, document, quick, shape, until)
    errors, took = dict[str, str](), dict[str, float]()
    figures: dict[str, Any] = {
        "format": 1,
        "version": __version__,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "errors": errors,
        "took_s": took,
    }
    for name in (name for name in PARTS if name in only):
        if time.monotonic() > until:
            errors[name] = "the time was up"
            continue
        begun = time.monotonic()
        try:
            found = PARTS[name](plan)
        except KeyboardInterrupt:
            errors[name] = "interrupted"
            break
        except Exception as error:  # the other parts go on
            errors[name] = sentence(error)
        else:
            figures |= {key: value for key, value in found.items() if key not in _KEPT or key not in figures}
        plan.give_back()
        took[name] = round(time.monotonic() - begun, 1)
        click.echo(f"palimpsest: {name}: {errors.get(name) or 'done'} ({took[name]:.0f} s)", err=True)
        keep(figures)
    keep(figures)
    return figures


def _end(figures: dict[str, Any]) -> None:
    """Exit with an error if nothing was measured."""
    errors = figures.get("errors", {})
    if "interrupted" in errors.values():
        raise SystemExit(_INTERRUPTED)
    if errors and not set(figures.get("took_s", {})) - set(errors):
        raise SystemExit(PalimpsestError.exit_code)


def read(source: str) -> dict[str, Any]:
    """Read saved figures. Raises DocumentMissing, or DataError if the file holds something else."""
    try:
        figures = json.loads(Path(source).read_text("utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DocumentMissing(f"there is no file {source}") from error
    except ValueError as error:
        raise DataError(f"{source} is not JSON: {error}") from error
    if not isinstance(figures, dict) or figures.get("format") != 1 or "machine" not in figures:
        raise DataError(f"{source} was not written by `palimpsest bench`")
    return figures
