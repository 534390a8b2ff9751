"""Define the commands that make a corpus: corpus and tokens. They only read options and print; the work is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from palimpsest_train.errors import CorpusError, TrainingError

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


def one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """End the command with one sentence and exit code 1 after an error of the trainer or of the system, such as a full
    disk."""

    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (CorpusError, TrainingError) as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise click.ClickException(
                f"{error.strerror or error}{where}; what was there before is whole, and a rerun goes on from it"
            ) from error

    return wrapped


@click.command()
@click.option("--corpus", type=FOLDER, default=Path("corpus"), help="Folder to build it in.")
@click.option(
    "--benchmark",
    "benchmarks",
    type=FILE,
    multiple=True,
    help="JSONL of problems whose texts are kept out; repeatable.",
)
@click.option(
    "--languages", default="", help="Further groups, with commas between them, or all.  [default: Python only]"
)
@click.option("--characters", "shares", multiple=True, metavar="GROUP=N", help="Take at most N characters of a group.")
@click.option(
    "--manifest", type=FILE, default=None, help="Fetch the versions of this manifest and compare the archives."
)
@one_sentence
def corpus(
    corpus: Path, benchmarks: tuple[Path, ...], languages: str, shares: tuple[str, ...], manifest: Path | None
) -> None:
    """Download packages (nothing is installed or run) and write the splits, the manifest and the attribution."""
    from palimpsest_train.corpus import build
    from palimpsest_train.manifest import compare, pins
    from palimpsest_train.packages import read_plan

    plan = read_plan().choose(tuple(filter(None, languages.split(","))), numbers(shares))
    corpus.mkdir(parents=True, exist_ok=True)
    report = build(corpus, plan, benchmarks, pins(manifest) if manifest else None)
    for left_out in report.left_out:
        click.echo(f"left out: {left_out['name']}, because {left_out['reason']}", err=True)
    for group, split in sorted({(source.group, source.split) for source in report.sources}):
        chosen = [s for s in report.sources if (s.group, s.split) == (group, split)]
        files, characters = sum(s.files for s in chosen), sum(s.characters for s in chosen)
        click.echo(f"{group}, {split}: {len(chosen)} packages, {files} files, {characters / 1e6:.1f} M characters")
    if manifest and (differing := compare(report, manifest)):
        raise CorpusError(f"the corpus is written, but not the manifest's: {differing} packages differ from it")


@click.command()
@click.option("--corpus", type=FOLDER, default=Path("corpus"))
@click.option("--vocabulary", default=4096)
@click.option(
    "--tokenizer", "existing", type=FILE, default=None, help="Use this tokenizer.json instead of training one."
)
@click.option("--repeat", "changes", multiple=True, metavar="GROUP=N", help="Write a group's documents N times.")
@one_sentence
def tokens(corpus: Path, vocabulary: int, existing: Path | None, changes: tuple[str, ...]) -> None:
    """Train the tokenizer, or take one that is there, and encode every split."""
    import numpy as np
    from tokenizers import Tokenizer

    from palimpsest_train.arrays import repeated, repeats_of, save
    from palimpsest_train.atomic import whole
    from palimpsest_train.packages import read_plan
    from palimpsest_train.tokenizer import encode_corpus, train_tokenizer

    plan = read_plan()
    repeat = {group.name: group.repeat for group in plan.groups} | dict(plan.known(numbers(changes)))
    tokenizer = Tokenizer.from_file(str(existing)) if existing else train_tokenizer(corpus, vocabulary)
    text = tokenizer.to_str(pretty=True)  # before encoding, which changes a switch of it
    with whole(corpus / "tokenizer.json") as part:
        part.write_text(text, "utf-8")
    for path in sorted(corpus.glob("*.jsonl")):
        split = path.name.removesuffix(".jsonl")
        array, starts = encode_corpus(tokenizer, corpus, split)
        if split == "train":
            times = repeats_of(path, repeat)
            array, starts = repeated(array, starts, times)
            save(corpus / "train.times.npy", np.array(times, dtype=np.int64))
        save(corpus / f"{split}.npy", array)
        save(corpus / f"{split}.starts.npy", starts)
        click.echo(f"{split}: {len(array) / 1e6:.1f} M tokens in {len(starts) - 1} documents")


@click.command()
@click.option("--corpus", type=FOLDER, default=Path("corpus"))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("corpus.tar.xz"))
@click.option("--limit", default=60, help="Largest size in MiB; documents are left out until it is met.")
@click.option("--seed", default=0, help="Of the sample that is kept.")
@one_sentence
def pack(corpus: Path, out: Path, limit: int, seed: int) -> None:
    """Pack tokenizer and token arrays for another machine."""
    from palimpsest_train.pack import pack as write

    packed = write(corpus, out, limit * 2**20, seed)
    click.echo(f"{out}: {packed.size / 2**20:.1f} MiB, {packed.documents} of {packed.of} training documents")


@click.command()
@click.argument("archive", type=FILE)
@click.option("--corpus", type=FOLDER, default=Path("corpus"), help="Folder to unpack into.")
@one_sentence
def unpack(archive: Path, corpus: Path) -> None:
    """Unpack what `pack` has written, ready to train on."""
    from palimpsest_train.pack import unpack as read

    click.echo(f"{corpus}: {read(archive, corpus) / 1e6:.1f} M training tokens")


def numbers(given: tuple[str, ...]) -> dict[str, int]:
    """Parse options of the form NAME=N. Raises click.UsageError for anything else."""
    pairs = [text.partition("=") for text in given]
    for name, sign, number in pairs:
        if not (name and sign and number.isdigit()):
            raise click.UsageError(f"{name}{sign}{number} is not of the form GROUP=N")
    return {name: int(number) for name, _, number in pairs}


COMMANDS = (corpus, tokens, pack, unpack)
