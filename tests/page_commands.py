"""Read the commands in the blocks of the pages, and what tests/docs/commands.toml says of each; runs none."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "docs" / "commands.toml"
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "editors/README.md", "editors/*/README.md")
# Blocks without a language are commands, too; what a program prints is in blocks of `text` or `json`.
ANY_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
COMMANDS = {"", "sh", "bash", "shell", "console"}
REASONS = {
    "network": "fetches a model or packages",
    "gpu": "needs an NVIDIA GPU",
    "branch": "writes a branch of the repository; tests/editors/test_docs_site.py does the same in a copy",
    "docker": "needs a daemon of Docker, or buildah and podman as root",
    "kubernetes": "needs a cluster",
    "program": "runs a program that is not ours and not in the environment of development",
    "long": "takes minutes, and has no options that make it short",
    "published": "needs the package on an index",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of the pages, word for word, and how to run it, or why not.

    reason: one of REASONS; it is not run. before: run first, to make what the page takes for granted. more: options put
    behind the command, the smallest that it has. says: patterns that are found in what it prints. makes: files that it
    writes. status: what it may end with. serves: it is a server, which is asked for this path ("" for the address that it
    prints, "lsp" for `initialize`), with these headers, and says `answers`. beside: a server that has to be there, at a
    port of its own choice. clone: run in the root of the repository, with an environment of development. again: run on each
    page, for what comes after it there.
    """

    command: str
    reason: str = ""
    before: str = ""
    more: str = ""
    says: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    status: tuple[int, ...] = (0,)
    serves: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    answers: str = ""
    beside: str = ""
    clone: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands. line: where it begins in its page, from 1."""

    page: str
    line: int
    commands: tuple[str, ...]


def entries() -> list[Entry]:
    """Return what the data file says, in its order."""
    listed: list[dict[str, Any]] = tomllib.loads(DATA.read_text("utf-8"))["command"]
    return [Entry(**{key: _frozen(value) for key, value in each.items()}) for each in listed]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def blocks() -> Iterator[Block]:
    """Yield the blocks of commands of all pages."""
    for pattern in PAGES:
        for page in sorted(ROOT.glob(pattern)):
            text = page.read_text("utf-8")
            for match in ANY_BLOCK.finditer(text):
                if match[2] in COMMANDS:
                    name, line = page.relative_to(ROOT).as_posix(), text.count("\n", 0, match.start()) + 1
                    yield Block(name, line, tuple(commands(match[3], prompted=match[2] == "console")))


def commands(text: str, *, prompted: bool = False) -> Iterator[str]:
    """Yield the commands of a block's text, without comments and prompts. prompted: lines without a prompt are output."""
    for line in text.replace("\\\n", " ").splitlines():
        command = " ".join(re.sub(r"(^|\s)#\s.*$", "", line).split())
        if command.startswith("$ "):
            yield command.removeprefix("$ ")
        elif command and not prompted:
            yield command
