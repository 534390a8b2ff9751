"""Offer instructions that are ready-made, and those that a user has said lately, as code actions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions.catalog import EXPLAIN, INSTRUCT, TEST
from palimpsest_server.features.code_actions.files_of_tests import HABITS, holds_tests
from palimpsest_server.session.session import Session

UNTAUGHT = "the model for edits was not taught to follow instructions"
_PREVIEW = 48  # characters
_TYPED = ("python", "typescript", "typescriptreact", "php")  # where types may be left out and added


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """An instruction for everybody. languages: only these, or if it is `not_in`, all but these."""

    title: str
    instruction: str
    languages: tuple[str, ...] = ()
    not_in: tuple[str, ...] = ()

    def fits(self, language: str) -> bool:
        """Return whether it makes sense in a language."""
        return language not in self.not_in and (not self.languages or language in self.languages)


READY_MADE = (
    ReadyMade("add a docstring", "Add a docstring.", languages=("python",)),
    ReadyMade("add a documentation comment", "Add a documentation comment.", not_in=("python",)),
    ReadyMade("add types", "Add type annotations.", languages=_TYPED),
    ReadyMade("simplify", "Simplify this code without changing what it does."),
    ReadyMade("handle errors", "Handle the errors that can occur."),
    ReadyMade("translate the comments", "Translate the comments into English."),
)


def understood(session: Session) -> bool:
    """Return whether the model for edits can be told what to do, or nobody knows yet."""
    told = session.engine.status()
    # With two models, that for edits is named once it is loaded.
    unknown = not told.model or (told.edit_languages is not None and "edits: " not in told.model)
    return told.instructs or unknown


def instructions(session: Session, document: Snapshot) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the title of each action for the selected code, and what its argument has beyond the place."""
    known = {each.instruction for each in READY_MADE}
    for said in session.conversations.said:
        if said not in known:
            yield f"again “{preview(said)}”", {"action": INSTRUCT, "instruction": said}
    for each in READY_MADE:
        if each.fits(document.language):
            yield each.title, {"action": INSTRUCT, "instruction": each.instruction}
    path = document.path
    if path and document.language in HABITS and not holds_tests(path.name, document.language):
        yield "write a test", {"action": TEST}
    yield "explain", {"action": EXPLAIN}


def preview(text: str) -> str:
    """Return the beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _PREVIEW else f"{line[: _PREVIEW - 1]}…"
