"""`python -m palimpsest_train`: corpus, tokens, train, export, plot. Each step reads what the one before wrote."""

from __future__ import annotations

import math
from pathlib import Path

import click

from palimpsest_train.commands import COMMANDS, one_sentence
from palimpsest_train.denoiser.command import denoiser

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Build the corpus and train the embedded checkpoint."""


for _command in (*COMMANDS, denoiser):
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
@click.option(
    "--minutes", type=float, default=math.inf, show_default=False, help="Stop and save after so many minutes."
)
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@one_sentence
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
    from palimpsest_train.recipe import read_recipe
    from palimpsest_train.train import Run

    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    Run(run, corpus, read_recipe(name, (*changes, *given)), device).train(until, minutes)


@main.command()
@click.option("--corpus", type=FOLDER, default=Path("corpus"))
@click.option("--run", type=FOLDER, default=Path("runs/embedded"))
@click.option("--out", type=FOLDER, default=Path("engine/palimpsest_engine/embedded"))
@click.option("--name", default=None, help="The checkpoint's name.  [default: the recipe's]")
@click.option("--recipe", default=None, help="Take sampling and name from this recipe.  [default: the run's own]")
@one_sentence
def export(corpus: Path, run: Path, out: Path, name: str | None, recipe: str | None) -> None:
    """Write the run as a Hugging Face checkpoint with its description."""
    from palimpsest_train.export import export as write
    from palimpsest_train.recipe import read_recipe

    write(run, corpus, out, name, read_recipe(recipe).checkpoint if recipe else None)
    click.echo(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 2**20:.1f} MiB")


@main.command("known-answer")
@click.option("--checkpoint", type=FOLDER, default=Path("engine/palimpsest_engine/embedded"))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("engine/palimpsest_engine/answers/embedded.json"),
)
@click.option("--commit", required=True, help="The commit of this repository at which it is recorded.")
def known_answer(checkpoint: Path, out: Path, commit: str) -> None:
    """Record what the embedded checkpoint answers, for `palimpsest doctor --verify`. It needs no seed: nothing is drawn."""
    from palimpsest_train.known_answer import record_embedded

    out.write_text(record_embedded(checkpoint, commit), "utf-8")
    click.echo(f"{out}: {out.stat().st_size / 2**10:.0f} KiB")


@main.command()
@click.option("--run", type=FOLDER, default=Path("runs/embedded"))
@click.option("--control", type=FOLDER, default=None, help="Folder of a left-to-right run, drawn beside it.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/training-curves.svg"))
@one_sentence
def plot(run: Path, control: Path | None, out: Path) -> None:
    """Draw the losses of a run."""
    from palimpsest_train.plot import curves

    curves(run, out, control)
    click.echo(str(out))


if __name__ == "__main__":
    main()
