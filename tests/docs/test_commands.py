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
# A command within a sentence. One with a commit behind it is the record of a measurement, made by the program of that commit.
SENTENCE = re.compile(r"`(palimpsest\s[a-z][^`]*)`(?!, commit)")
PLACEHOLDERS = {"LINE:COL": "12:5", "A:B": "10:14", "N": "1", "K": "1", "OUT": "fill.html"}
# Pages on what was: their commands were right when they were written.
PAST = {"CHANGELOG.md", *(f"docs/adr/{page.name}" for page in ROOT.glob("docs/adr/0*.md"))}
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


def _id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def cases(program: str) -> list:
    return [
        pytest.param(words, id=f"{page.relative_to(ROOT)}: {shlex.join(words)[:70]}")
        for page in PAGES
        for found, words in commands(page)
        if found == program
    ]


def _modules() -> list:
    programs = {program for page in PAGES for program, _ in commands(page) if program.startswith("python")}
    return [
        pytest.param(program.split()[-1], *case.values, id=f"{program.split()[-1]} {case.id}")
        for program in sorted(programs)
        for case in cases(program)
    ]


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Parse the words as click does before it runs anything, down to the last subcommand."""
    with command.make_context(command.name, list(words), parent=parent) as context:
        rest = [*context._protected_args, *context.args]
        if isinstance(command, click.Group) and not (command.invoke_without_command and not rest):
            _, inner, arguments = command.resolve_command(context, rest)
            assert inner is not None
            parse(inner, arguments, context)


@pytest.mark.parametrize("words", cases("palimpsest"))
def test_a_command_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # The files that examples name need not be there; options, their types and the number of arguments are checked.
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, context: Path(value))
    parse(main, words)


@pytest.mark.parametrize("page", [page for page in PAGES if page.relative_to(ROOT).as_posix() not in PAST], ids=_id)
def test_a_command_in_a_sentence_is_the_beginning_of_one(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a command may end before an argument that it needs; its options, choices and subcommands have to be there."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, context: Path(value))
    unfinished = (click.MissingParameter, click.BadOptionUsage, click.exceptions.NoArgsIsHelpError)
    faults = []
    for command in SENTENCE.findall(page.read_text("utf-8")):
        if "..." in command or "…" in command:
            continue
        words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command)[1:] if word != "--help"]
        try:
            parse(main, words)
        except unfinished:
            continue
        except click.UsageError as error:
            faults.append(f"{command}: {error}")
    assert faults == []


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


@pytest.mark.parametrize(("module", "words"), _modules())
def test_a_command_of_a_module_parses(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, context: Path(value))
    found = importlib.import_module(module)
    if hasattr(found, "__path__"):
        found = importlib.import_module(f"{module}.__main__")
    if isinstance(found.main, click.Command):
        parse(found.main, words)
    else:
        # One of argparse makes its parser while it runs: only its options are compared with the source.
        source = Path(found.__file__ or "").read_text("utf-8")
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []
