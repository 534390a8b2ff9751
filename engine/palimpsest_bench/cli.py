"""`palimpsest bench`: what a keystroke and a denoising step cost on this machine, beside what else there is.

What is measured is in `bench_parts.py`; here is what becomes of it: one document of figures, kept as it grows.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from palimpsest_bench.engine.random_models import SHAPES, Shape
from palimpsest_bench.parts import PARTS, WITHOUT_A_CHECKPOINT, Plan
from palimpsest_engine import EngineSettings, PalimpsestError, __version__
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_server.cli import engines

_INTERRUPTED = 130
# What `steps` and `peers` both find: that of `steps`, over all contexts, stays.
_KEPT = ("ratio_over_generate",)


@click.command("bench", short_help="Measure what a keystroke costs.")
@click.option("--quick", is_flag=True, help="Less of everything: a first impression in some minutes.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(PARTS)), help="Only this part; may be given several times."
)
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    help="Random weights of this shape, drawn on the device, in place of a checkpoint; only parts without a server.",
)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Begin nothing more after so many minutes.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.option("--output", metavar="FILE", help="Keep the JSON in this file, too; it grows with each part.")
@click.option("--from", "source", metavar="FILE", help="Measure nothing: show what --output or --json once said.")
@click.option("--table", is_flag=True, help="Answer in Markdown.")
@click.option("--plots", metavar="FOLDER", help="Draw curves there, as SVG. Needs matplotlib.")
@engines.engine_options
@engines.adapter_option
def command(
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
    """Type into documents, with a real server process, look into the engine, and say what it took."""
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


def _chosen(only: Sequence[str], shape: Shape | None) -> Sequence[str]:
    if shape is None:
        return only or tuple(PARTS)
    if others := [part for part in only if part not in WITHOUT_A_CHECKPOINT]:
        raise click.UsageError(
            f"--shape goes with {', '.join(WITHOUT_A_CHECKPOINT)}, not with {others[0]}: "
            "a model of random weights has nothing to say to an editor"
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

        locate(settings.checkpoint)  # nobody wants to hear of this after some minutes
    click.echo("palimpsest: measuring; this takes minutes, and other work on this machine spoils it", err=True)
    if output:
        _write(Path(output), "{}")
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes

    def keep(figures: dict[str, Any]) -> None:
        if output:
            _write(Path(output), json.dumps(figures))

    return measured(settings, quick, only, shape, until, keep)


def measured(
    settings: EngineSettings,
    quick: bool,
    only: Sequence[str],
    shape: Shape | None = None,
    until: float = float("inf"),
    keep: Callable[[dict[str, Any]], None] = lambda figures: None,
) -> dict[str, Any]:
    """The figures of these parts, as in `docs/json.md`; `keep` gets them after each part. What cannot be measured, and what
    is left out because it is later than `until`, is under `errors`, by the part, in a sentence."""
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
        except Exception as error:  # one part must not cost the others
            errors[name] = _sentence(error)
        else:
            figures |= {key: value for key, value in found.items() if key not in _KEPT or key not in figures}
        plan.give_back()
        took[name] = round(time.monotonic() - begun, 1)
        click.echo(f"palimpsest: {name}: {errors.get(name) or 'done'} ({took[name]:.0f} s)", err=True)
        keep(figures)
    keep(figures)
    return figures


def _sentence(error: Exception) -> str:
    if isinstance(error, PalimpsestError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _end(figures: dict[str, Any]) -> None:
    """Leave with an error if nothing was measured."""
    errors = figures.get("errors", {})
    if "interrupted" in errors.values():
        raise SystemExit(_INTERRUPTED)
    if errors and not set(figures.get("took_s", {})) - set(errors):
        raise SystemExit(PalimpsestError.exit_code)


def read(source: str) -> dict[str, Any]:
    """Figures that were kept. Raises DocumentMissing, or DataError if that is not what the file holds."""
    try:
        figures = json.loads(Path(source).read_text("utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DocumentMissing(f"there is no file {source}") from error
    except ValueError as error:
        raise DataError(f"{source} is not JSON: {error}") from error
    if not isinstance(figures, dict) or figures.get("format") != 1 or "machine" not in figures:
        raise DataError(f"{source} is not what `palimpsest bench --json` writes")
    return figures


def _write(path: Path, text: str) -> None:
    """Put a text in the place of a file, at once or not at all."""
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text + "\n")
        os.replace(name, path)
    except OSError as error:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise PalimpsestError(f"{path} cannot be written: {error.strerror}") from error
