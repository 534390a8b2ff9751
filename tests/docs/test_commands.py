"""Every command in a block of the pages is one that the command line takes, and every target of make is there."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from palimpsest_server.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for pattern in ("*.md", "docs/*.md", "docs/adr/*.md", "editors/*.md", "editors/*/*.md")
    for page in sorted(ROOT.glob(pattern))
]
BLOCK = re.compile(r"^ *```(?:sh|bash|shell|console)?\n(.*?)^ *```", re.M | re.S)
INLINE = re.compile(r"`((?:\w+=\S+ )*(?:palimpsest|make) [^`]+)`")
# Commands of a block that run programs of other people, and of which only the name is checked here.
PROGRAM = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(palimpsest|make|python -m palimpsest_\S+)(?: |$)")


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the program and the arguments of each command in the blocks of a page."""
    for block in BLOCK.findall(page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if match := PROGRAM.match(line.strip()):
                rest = line.strip()[match.end() :]
                yield match[1], shlex.split(rest, comments=True)


def cases(program: str) -> list:
    return [
        pytest.param(words, id=f"{page.relative_to(ROOT)}: {shlex.join(words)[:70]}")
        for page in PAGES
        for found, words in commands(page)
        if found == program
    ]


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Parse the words as click does before it runs anything, down to the last subcommand."""
    with command.make_context(command.name, list(words), parent=parent, resilient_parsing=False) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            _, inner, arguments = command.resolve_command(context, rest)
            assert inner is not None
            parse(inner, arguments, context)


@pytest.mark.parametrize("words", cases("palimpsest"))
def test_a_command_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # The files that examples name need not be there; options, their types and the number of arguments are checked.
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, context: value)
    parse(main, words)


def test_a_wrong_command_does_not_parse() -> None:
    with pytest.raises(click.NoSuchOption):
        parse(main, ["fill", "shop.py", "--att", "12:5"])
    with pytest.raises(click.UsageError):
        parse(main, ["models", "pul", "embedded"])


def test_targets_of_make_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = {word for page in PAGES for program, words in commands(page) if program == "make" for word in words}
    named |= {word for page in PAGES for target in INLINE.findall(page.read_text("utf-8")) for word in _targets(target)}
    assert {word for word in named if "=" not in word} - targets == set()
    assert {"demo", "vscode", "test"} <= named


def _targets(command: str) -> list[str]:
    words = [word for word in shlex.split(command) if "=" not in word]
    return [word for word in words[1:] if not word.startswith("-")] if words[0] == "make" else []


MODULES = sorted(
    {program.split()[-1] for page in PAGES for program, _ in commands(page) if program.startswith("python")}
)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_to_run_is_there(name: str) -> None:
    assert importlib.util.find_spec(f"{name}.__main__") or importlib.util.find_spec(name)
