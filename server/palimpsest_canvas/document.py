"""The document that the page shows, and the ways back to where it came from; pure but for `Origin`'s makers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from palimpsest_engine import Span

MOST = 400_000  # code points of a text on the page; an editor's window has fewer
_REACH = 80_000  # on either side of the hole, in a text that is larger


class Document(msgspec.Struct, frozen=True):
    """A text with one hole. start, end: of the hole, in code points. base: where the text begins in the whole document."""

    uri: str | None
    name: str
    language: str
    version: int | None
    text: str
    start: int
    end: int
    base: int = 0

    def as_value(self) -> dict[str, object]:
        """Return what the page is told."""
        value = msgspec.structs.asdict(self)
        del value["base"]
        return value


class Target(msgspec.Struct, frozen=True):
    """The place that a fill was for: holes of a text, which begins at `base` in a version of a document."""

    uri: str | None
    version: int | None
    base: int
    text: str
    holes: tuple[Span, ...]


class Origin(Protocol):
    """The place that documents come from. editor: it is an editor, which takes what was made."""

    editor: bool

    def base_of(self, uri: str, version: int | None) -> int:
        """Return where the text that the page has begins in that document."""
        ...

    async def apply(self, target: Target, texts: Sequence[str]) -> str:
        """Write texts into the holes; return the reason if that was not done."""
        ...


class CommandLine:
    """The command line, whose files are only read."""

    editor = False

    def base_of(self, uri: str, version: int | None) -> int:
        """Return 0: nothing is written back."""
        return 0

    async def apply(self, target: Target, texts: Sequence[str]) -> str:
        """Refuse."""
        return "This page was opened from the command line, which writes nothing: copy the text instead."


def cut(document: Document) -> Document:
    """Return the document, or the lines around the hole of one that is too large to be shown."""
    if len(document.text) <= MOST:
        return document
    text = document.text
    first = text.find("\n", max(0, document.start - _REACH), document.start) + 1 if document.start > _REACH else 0
    last = text.rfind("\n", document.end, document.end + _REACH)
    last = last if last >= 0 else min(len(text), document.end + _REACH)
    return msgspec.structs.replace(
        document,
        text=text[first:last],
        start=document.start - first,
        end=document.end - first,
        base=document.base + first,
    )
