"""The protocol that every driver of an editor implements, so that one table of scenarios runs in all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

CURSOR = "‸"
T = TypeVar("T")

Ability = Literal[
    "ghost",  # shows a suggestion as ghost text
    "list",  # shows it in the completion list
    "word",  # accepts a word of it
    "line",  # accepts a line of it
    "next",  # goes to the next of several
    "trigger",  # asks by hand
    "pairs",  # closes brackets by itself
    "indents",  # indents by itself, and has `tabs`
    "drafts",  # shows drafts while the model is at work
    "actions",  # runs code actions
    "undo",  # undoes
    "toggle",  # has a command that pauses everything
    "status",  # shows a reason when there is nothing
    "revives",  # starts a server again that ended by itself
]

Key = Literal[
    "accept",
    "word",
    "line",
    "next",
    "previous",
    "trigger",
    "escape",
    "undo",
    "left",
    "right",
    "up",
    "down",
    "enter",
    "toggle",  # pauses everything by hand, and goes on, with the editor's own command
]


@dataclass(frozen=True)
class Server:
    """The command that starts the server. command: an executable file, and nothing else. initialization: the section."""

    command: Path
    initialization: Mapping[str, Any]


def until(check: Callable[[], T], why: str = "", seconds: float = 15.0) -> T:
    """Wait until the check gives something true, and return that; fail, saying why, after so long."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {why or check}; the last was {found!r}")
        time.sleep(0.02)
    return found


class Editor(Protocol):
    """A real editor (or the emulation of a client), with one document open.

    A driver's module has `start(cache, server, folder)`, a context manager that makes one and closes it: `cache` for
    `programs`, `folder` an empty one for files, profile and all; it raises `programs.Unavailable`. Positions are code
    points of the text. Nothing here sleeps for a fixed time and hopes: what has to be waited for is waited for with `until`.
    """

    name: str
    abilities: frozenset[Ability]
    encoding: Literal["utf-8", "utf-16", "utf-32"]

    def open(self, name: str, text: str, *, tabs: bool = False, pairs: bool = False) -> None:
        """Write the file, open it in the folder of the test, and wait until the server knows it; the cursor at CURSOR.

        tabs: indent with tabs, else with four spaces. pairs: close brackets and quotes by itself (VS Code) or not.
        The editor is ready to type in (insert mode).
        """

    def text(self) -> str:
        """The document as the editor has it."""

    def cursor(self) -> int:
        """Return the offset of the cursor."""

    def type(self, text: str) -> None:
        """Key by key, as fast as the editor takes it; a line break is Enter."""

    def press(self, key: Key) -> None:
        """A key, or what is bound to it: accept all, a word, a line; the next suggestion; ask; move; undo."""

    def select(self, start: int, end: int) -> None:
        """Select that."""

    def ghost(self) -> str:
        """The suggestion as shown right now, or an empty text. What is behind the cursor; not what is typed already."""

    def edit(self, text: str) -> None:
        """Insert that at the very beginning of the document, as a user can while an action runs; the selection may go."""

    def run(self, action: str) -> None:
        """Begin a code action of docs/actions.md, by the name in its first column, as a user does, and do not wait.

        No preview that has to be accepted: where the editor has one, it is off unless a test switches it on.
        """

    def cancel(self) -> None:
        """Cancel the action that runs, as a user does."""

    def reason(self) -> str:
        """Return the editor's reason for no suggestion (status item, status line), or an empty text."""

    def messages(self) -> list[str]:
        """Return the messages that popped up before the user since the start (errors, warnings)."""

    def restart(self) -> None:
        """Restart the server as a user does, and wait until the document is known to it."""

    def screenshot(self, path: Path) -> None:
        """The editor as it looks, as PNG (or as SVG or text, for those without a screen)."""
