"""`python -m palimpsest_bench.projects FOLDER`: measure what excerpts of other files are worth in real projects.

Each folder in FOLDER is a project, and its own lines are the cases of `crossfile.py`: nobody chose them because another file
gives them away. A hole is a whole line, or the rest of one from a word on. Open beside its file are two others of its folder.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from palimpsest_bench.crossfile import HOLE, Case, measure, options
from palimpsest_engine.errors import DataError
from palimpsest_engine.syntax.grammars import language_of

_LINES = 60  # of a file, at least: a shorter one hardly fills a small model's context
_ABOVE = 15  # lines
_SHORTEST, _LONGEST = 6, 80  # characters of a line
_LARGEST = 60_000  # characters of a file
_OPEN = 2
_TRIES = 100  # lines looked at, for each that is taken
# Comments, texts, imports, and what is made up of marks alone: other files say nothing about those, or everything.
_DULL = re.compile(r"""[#/*"']|--|(import|from|use|package|using|require)\b|\W*\Z""")


def cases(folder: Path, places: int, seed: int = 7) -> list[Case]:
    """Take so many lines of each project in a folder. Raises DataError if there is none."""
    chance, found = random.Random(seed), list[Case]()
    for project in sorted(each for each in folder.iterdir() if each.is_dir()):
        files = dict(_files(project, folder))
        long = [name for name, text in files.items() if text.count("\n") > _LINES]
        taken = 0
        for _ in range(places * _TRIES if long else 0):
            if taken == places:
                break
            if (case := _case(files, chance.choice(long), chance)) is not None:
                found.append(case)
                taken += 1
    if not found:
        raise DataError(f"{folder} has no folder with files of more than {_LINES} lines in a known language")
    return found


def _files(project: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the files of a project with their paths: those in languages that we know, but for tests and what others wrote."""
    for path in sorted(project.rglob("*")):
        name = path.relative_to(folder)
        if language_of(path.name, None) is None or {"test", "tests", "vendor", "_vendor"} & set(name.parts):
            continue
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if len(text) <= _LARGEST and HOLE not in text:
            yield name.as_posix(), text


def _case(files: dict[str, str], name: str, chance: random.Random) -> Case | None:
    """Return a line of a file as a case, or None if the one that was drawn is none."""
    lines = files[name].splitlines(keepends=True)
    at = chance.randrange(_ABOVE, len(lines))
    body = lines[at].strip()
    if not _SHORTEST <= len(body) <= _LONGEST or _DULL.match(body):
        return None
    words = [word.start() for word in re.finditer(r"\b\w", body)][1:]
    begin = chance.choice(words) if words and chance.random() < 0.5 else 0
    ahead, behind = lines[at].split(body, 1)
    text = "".join([*lines[:at], ahead, body[:begin], HOLE, behind, *lines[at + 1 :]])
    folder = name.rpartition("/")[0]
    near = [each for each in files if each != name and each.rpartition("/")[0] == folder]
    return Case(
        f"{name}:{at + 1}",
        None,
        name,
        body[begin:],
        files | {name: text},
        tuple(chance.sample(near, min(_OPEN, len(near)))),
    )


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--places", type=click.IntRange(1), default=40, show_default=True, help="Lines of each project.")
@options
def main(folder: Path, places: int, **given: Any) -> None:
    """Fill lines of the projects in FOLDER without and with excerpts of other files, and print a table of exact matches."""
    measure(cases(folder, places), **given)


if __name__ == "__main__":
    main()
