"""What a test does with an editor: the protocol that every driver implements, so that one table of scenarios runs in all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

CURSOR = "‸"

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
    "status",  # shows a reason when there is nothing
]

Key = Literal[
    "accept", "word", "line", "next", "previous", "trigger", "escape", "undo", "left", "right", "up", "down", "enter"
]


@dataclass(frozen=True)
class Server:
    """How the editor is to start the server. command: an executable file, and nothing else. initialization: the section."""

    command: Path
    initialization: Mapping[str, Any]


class Editor(Protocol):
    """A real editor (or the emulation of a client), with one document open. Made by a context manager that closes it.

    Positions are code points of the text. Nothing here sleeps for a fixed time and hopes: what has to be waited for is
    waited for by the test, with `until` in conftest.
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
        """Where the cursor is."""

    def type(self, text: str) -> None:
        """Key by key, as fast as the editor takes it; a line break is Enter."""

    def press(self, key: Key) -> None:
        """A key, or what is bound to it: accept all, a word, a line; the next suggestion; ask; move; undo."""

    def select(self, start: int, end: int) -> None:
        """Select that."""

    def ghost(self) -> str:
        """The suggestion as shown right now, or an empty text. What is behind the cursor; not what is typed already."""

    def run(self, action: str) -> None:
        """Begin a code action of docs/actions.md, by the name in the first column, as a user does; do not wait for its end."""

    def cancel(self) -> None:
        """Cancel the action that runs, as a user does."""

    def reason(self) -> str:
        """What the editor says about why there is no suggestion (status item, status line), or an empty text."""

    def messages(self) -> list[str]:
        """What was popped up before the user since the start (errors, warnings)."""

    def server_pid(self) -> int | None:
        """The process that the editor started as its server, if it is there."""

    def screenshot(self, path: Path) -> None:
        """The editor as it looks, as PNG (or as SVG or text, for those without a screen)."""
