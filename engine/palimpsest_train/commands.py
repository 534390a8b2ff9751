"""The commands that make a corpus: corpus and tokens. They only read options and print; the work is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from palimpsest_train.errors import CorpusError

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


def one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """A corpus error, or one of the system such as a full disk, ends the command with one sentence and exit code 1."""

    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except CorpusError as error:
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
@one_sentence
def corpus(corpus: Path, benchmarks: tuple[Path, ...]) -> None:
    """Download packages (nothing is installed or run) and write both splits and the manifest."""
    from palimpsest_train.corpus import build
    from palimpsest_train.packages import read_plan

    report = build(corpus, read_plan(), benchmarks)
    for left_out in report.left_out:
        click.echo(f"left out: {left_out['name']} ({left_out['reason']})", err=True)
    for group, split in sorted({(source.group, source.split) for source in report.sources}):
        chosen = [s for s in report.sources if (s.group, s.split) == (group, split)]
        files, characters = sum(s.files for s in chosen), sum(s.characters for s in chosen)
        click.echo(f"{group}, {split}: {len(chosen)} packages, {files} files, {characters / 1e6:.1f} M characters")


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
    from tokenizers import Tokenizer

    from palimpsest_train.arrays import repeated, repeats_of, save
    from palimpsest_train.packages import read_plan
    from palimpsest_train.tokenizer import encode_corpus, train_tokenizer

    repeat = {group.name: group.repeat for group in read_plan().groups}
    for change in changes:
        name, _, times = change.partition("=")
        if name not in repeat or not times.isdigit():
            raise click.UsageError(f"{change} is no GROUP=N; the groups are {', '.join(repeat)}")
        repeat[name] = int(times)
    tokenizer = Tokenizer.from_file(str(existing)) if existing else train_tokenizer(corpus, vocabulary)
    text = tokenizer.to_str(pretty=True)  # before encoding, which changes a switch of it
    part = corpus / "tokenizer.json.part"
    part.write_text(text, "utf-8")
    part.replace(corpus / "tokenizer.json")
    for path in sorted(corpus.glob("*.jsonl")):
        split = path.name.removesuffix(".jsonl")
        array, starts = encode_corpus(tokenizer, corpus, split)
        if split == "train":
            array, starts = repeated(array, starts, repeats_of(path, repeat))
        save(corpus / f"{split}.npy", array)
        save(corpus / f"{split}.starts.npy", starts)
        click.echo(f"{split}: {len(array) / 1e6:.1f} M tokens in {len(starts) - 1} documents")


COMMANDS = (corpus, tokens)
