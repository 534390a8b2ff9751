"""The commands of `denoiser`. They only read options; the work is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from palimpsest_train.denoiser.recipe import SMOKE, Recipe, changed
from palimpsest_train.errors import CorpusError, TrainingError

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


def one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """End a command with one sentence and exit code 1 at an error of the trainer or of the system."""

    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (CorpusError, TrainingError, OSError) as error:
            raise click.ClickException(str(error)) from error

    return wrapped


@click.group(context_settings={"show_default": True})
def denoiser() -> None:
    """Train a LoRA that makes a left-to-right coder fill holes by denoising."""


@denoiser.command()
@click.option("--gguf", "gguf_file", type=FILE, required=True, help="The base, of the Qwen2 class.")
@click.option("--corpus", type=FOLDER, default=Path("corpus"), help="What `palimpsest_train corpus` wrote.")
@click.option("--problems", type=FILE, multiple=True, help="JSON lines of problems to fill at the end; repeatable.")
@click.option("--count", default=300, help="Problems taken of each file, evenly.")
@click.option("--ids", "most_ids", default=34_304, help="Embedding rows that travel.")
@click.option("--mebibytes", default=90, help="Most text that travels, before it is compressed.")
@click.option("--kit", type=FOLDER, default=Path("kit"))
@one_sentence
def prepare(
    gguf_file: Path,
    corpus: Path,
    problems: tuple[Path, ...],
    count: int,
    most_ids: int,
    mebibytes: int,
    kit: Path,
) -> None:
    """Make the kit's folder: tokenizer, ids, base, texts and problems."""
    from palimpsest_train.denoiser.kit import prepare as make

    for name, size in make(gguf_file, corpus, problems, count, most_ids, mebibytes * 2**20, kit).items():
        click.echo(f"{kit / name}: {size / 2**20:.1f} MiB")


@denoiser.command()
@click.option("--kit", type=FOLDER, default=Path("kit"))
@click.option("--out", type=FOLDER, default=Path(".kit"), help="Folder of the parts.")
@click.option("--limit", default=64.0, help="MiB that a call may carry: the working tree and a part.")
@click.option("--tree", type=FOLDER, default=Path(), help="The working tree that travels with each part.")
@click.option("--mebibytes", type=float, default=None, help="Most a part may have.  [default: what the tree leaves]")
@one_sentence
def split(kit: Path, out: Path, limit: float, tree: Path, mebibytes: float | None) -> None:
    """Cut a kit into parts that travel one by one, and write the command that each part's call runs."""
    from palimpsest_train.denoiser.kit import room
    from palimpsest_train.denoiser.kit import split as cut

    most = room(tree, int(limit * 2**20)) if mebibytes is None else int(mebibytes * 2**20)
    for line in cut(kit, out, most):
        click.echo(line)


@denoiser.command()
@click.option("--kit", type=FOLDER, default=Path("kit"))
@one_sentence
def join(kit: Path) -> None:
    """Put parts that have arrived together, verify them, and unpack."""
    from palimpsest_train.denoiser.kit import join as put

    click.echo(put(kit))


@denoiser.command()
@click.option("--kit", type=FOLDER, default=Path("kit"))
@click.option("--out", type=FOLDER, default=Path("runs/denoiser"))
@click.option("--minutes", type=float, default=5.0, help="Wall clock of the training.")
@click.option("--steps", type=int, default=None, help="Steps, instead of minutes.")
@click.option("--evaluate", "seconds", type=float, default=75.0, help="Seconds for the evaluation; 0 for none.")
@click.option("--problems", "most", type=int, default=None, help="Problems of each file.  [default: all]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, as in rank=64.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option("--workers", default=14, help="Processes that draw rows; 0 draws between steps.")
@click.option(
    "--compile/--eager", "compiled", default=False, help="Compile a layer, which takes a minute at the start."
)
@click.option("--smoke", is_flag=True, help="A tiny untrained model and a small recipe, to see that all is in place.")
@one_sentence
def train(
    kit: Path,
    out: Path,
    minutes: float,
    steps: int | None,
    seconds: float,
    most: int | None,
    changes: tuple[str, ...],
    device: str,
    workers: int,
    compiled: bool,
    smoke: bool,
) -> None:
    """Train by the clock, save at half time and at the end, and evaluate."""
    from palimpsest_train.denoiser.run import TINY, Kit
    from palimpsest_train.denoiser.run import train as run
    from palimpsest_train.denoiser.train import Length

    recipe = changed(SMOKE if smoke else Recipe(), changes)
    opened = Kit(kit, TINY if smoke else None)
    run(opened, out, recipe, Length(minutes * 60, steps), device, workers, seconds, compiled, most)


@denoiser.command()
@click.option("--kit", type=FOLDER, default=Path("kit"))
@click.option("--adapter", type=FOLDER, required=True, help="Folder of the adapter's files.")
@click.option("--out", type=FOLDER, default=Path("runs/denoiser-again"))
@click.option("--seconds", type=float, default=600.0)
@click.option("--problems", "most", type=int, default=None, help="Problems of each file.  [default: all]")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@one_sentence
def evaluate(kit: Path, adapter: Path, out: Path, seconds: float, most: int | None, device: str) -> None:
    """Evaluate a saved adapter, on a CPU too."""
    from palimpsest_train.denoiser.run import Kit, evaluate_again

    evaluate_again(Kit(kit), adapter, out, device, seconds, most)


@denoiser.command()
@click.option("--adapter", type=FOLDER, required=True, help="Folder of the adapter's files.")
@click.option("--out", type=FOLDER, required=True, help="Folder of the packed files.")
@one_sentence
def pack(adapter: Path, out: Path) -> None:
    """Write a saved adapter as int8, in half the bytes, and say how far that is from it."""
    from palimpsest_train.denoiser.adapter import pack as write

    found = write(adapter, out)
    click.echo(f"{out}: {found['bytes'] / 2**20:.1f} MiB")
    click.echo(f"What a matrix adds is off by {found['error']:.2%} on average, by {found['worst']:.2%} at most.")


@denoiser.command()
@click.option("--kit", type=FOLDER, default=Path("kit"))
@click.option("--out", type=FOLDER, default=Path("runs/denoiser"))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, as in rank=64.")
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option("--workers", default=14, help="Processes that draw rows.")
@click.option("--steps", default=6)
@click.option("--compile/--eager", "compiled", default=False, help="Compile a layer; the first step then takes long.")
@click.option("--smoke", is_flag=True, help="A tiny model and a small recipe.")
@one_sentence
def probe(
    kit: Path, out: Path, changes: tuple[str, ...], device: str, workers: int, steps: int, compiled: bool, smoke: bool
) -> None:
    """Measure a machine with an untrained base of the true shape: the kit's texts are enough for it."""
    from palimpsest_train.denoiser.run import QWEN_05B, TINY, Kit
    from palimpsest_train.denoiser.run import probe as measure

    recipe = changed(SMOKE if smoke else Recipe(), changes)
    measure(Kit(kit, TINY if smoke else QWEN_05B), out, recipe, device, workers, steps, compiled)
