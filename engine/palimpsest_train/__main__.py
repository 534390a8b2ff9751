"""`python -m palimpsest_train`: corpus, tokens, train, export, evaluate, plot. Each step reads what the one before wrote."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import click

from palimpsest_train.commands import COMMANDS

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Build the corpus and train the embedded checkpoint."""


for _command in COMMANDS:
    main.add_command(_command)


@main.command()
@click.option("--recipe", "name", default="6m", help="A recipe of this package by name, or a TOML file.")
@click.option("--corpus", type=FOLDER, default=Path("corpus"))
@click.option("--run", type=FOLDER, default=Path("runs/embedded"), help="Folder of the run; resumed if it has a state.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, as in row.canvases=12.")
@click.option("--steps", type=int, default=None, help="Steps of the whole schedule.  [default: the recipe's]")
@click.option(
    "--cooldown", type=float, default=None, help="Share of them over which the rate falls.  [default: the recipe's]"
)
@click.option("--threads", type=int, default=None, help="Threads on a CPU.  [default: the recipe's]")
@click.option("--until", type=int, default=None, help="Stop at this step of the schedule.")
@click.option("--minutes", type=float, default=math.inf, show_default=False, help="Stop and save after so many minutes.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
def train(
    name: str,
    corpus: Path,
    run: Path,
    changes: tuple[str, ...],
    until: int | None,
    minutes: float,
    device: str,
    **options: float | None,
) -> None:
    """Train, or resume, by a recipe."""
    from palimpsest_train.errors import TrainingError
    from palimpsest_train.recipe import read_recipe
    from palimpsest_train.train import Run

    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    try:
        Run(run, corpus, read_recipe(name, (*changes, *given)), device).train(until, minutes)
    except TrainingError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--corpus", type=FOLDER, default=Path("corpus"))
@click.option("--run", type=FOLDER, default=Path("runs/embedded"))
@click.option("--out", type=FOLDER, default=Path("engine/palimpsest_engine/embedded"))
@click.option("--name", default="palimpsest-py-6m")
def export(corpus: Path, run: Path, out: Path, name: str) -> None:
    """Write the run as a Hugging Face checkpoint with its description."""
    from palimpsest_train.export import export as write

    write(run, corpus, out, name)
    click.echo(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 2**20:.1f} MiB")


@main.command()
@click.option("--corpus", type=FOLDER, default=Path("corpus"))
@click.option("--checkpoint", default=None, help="Folder; the embedded one otherwise.")
@click.option("--count", default=600)
@click.option("--most-tokens", default=8)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a sampling parameter, pins or length_power; or prune=none.",
)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="JSON with every hole.")
def evaluate(
    corpus: Path,
    checkpoint: str | None,
    count: int,
    most_tokens: int,
    changes: tuple[str, ...],
    out: Path | None,
) -> None:
    """Exact match on held-out packages, beside the floors."""
    from palimpsest_engine import EngineSettings
    from palimpsest_engine.checkpoint import locate
    from palimpsest_engine.spec import read_spec
    from palimpsest_train import evaluate as evaluation
    from palimpsest_train.tokenizer import documents

    spec = read_spec(locate(checkpoint))
    for change in changes:
        key, _, value = change.partition("=")
        if key in {field.name for field in fields(spec.sampling)}:
            spec = replace(spec, sampling=replace(spec.sampling, **{key: type(getattr(spec.sampling, key))(value)}))
        elif key in ("pins", "length_power"):
            spec = replace(spec, **{key: type(getattr(spec, key))(value)})
        elif change == "prune=none":
            spec = replace(spec, prune=())
        else:
            raise click.UsageError(f"{change} changes no sampling parameter, nor pins, length_power or prune=none")
    texts = list(documents(corpus / "held_out.jsonl"))
    report = evaluation.evaluate(texts, EngineSettings(checkpoint), count, most_tokens, spec=spec)
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    del report["rows"]
    click.echo(json.dumps(report, indent=1))


@main.command()
@click.option("--run", type=FOLDER, default=Path("runs/embedded"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/training-curves.svg"))
def plot(run: Path, out: Path) -> None:
    """Draw the losses of a run."""
    from palimpsest_train.plot import curves

    curves(run / "curve.jsonl", out)
    click.echo(str(out))


if __name__ == "__main__":
    main()
