"""The question which other places the model may see, and the answer to it: frozen values alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lsprotocol import types

from palimpsest_engine import Excerpt
from palimpsest_server.context import imports
from palimpsest_server.context.workspace import ALL_BYTES, Look
from palimpsest_server.documents.edit_history import RecentEdit
from palimpsest_server.documents.rope import Text
from palimpsest_server.documents.store import Snapshot

Source = Literal["notebook", "imports", "diagnostics", "edits", "documents"]
SOURCES: tuple[Source, ...] = ("imports", "diagnostics", "edits", "documents")  # "notebook" is the document itself
TOKEN = 3.4  # characters; the engine counts exactly


def known(names: Collection[str]) -> tuple[Source, ...]:
    """Return those of the names that are sources."""
    return tuple(source for source in SOURCES if source in names)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as the editor has it. path: absolute, empty if it has none."""

    uri: str
    path: str
    language: str
    content: Text
    version: int = 0

    @property
    def place(self) -> str:
        """Return the path of a file that is no cell; else the URI."""
        return self.path if self.path and "#" not in self.uri else self.uri

    @staticmethod
    def of(snapshot: Snapshot) -> Document:
        """Take an open document."""
        path = snapshot.path
        return Document(
            snapshot.uri, path.as_posix() if path else "", snapshot.language, snapshot.content, snapshot.version
        )


@dataclass(frozen=True, slots=True)
class Around:
    """The places to choose from.

    others: open documents and those edited lately, the latest first. cells: the code cells before this one, in order.
    edits: the latest first.
    """

    others: tuple[Document, ...] = ()
    cells: tuple[Document, ...] = ()
    edits: tuple[RecentEdit, ...] = ()
    diagnostics: tuple[types.Diagnostic, ...] = ()


class Reader(imports.Tree, Protocol):
    """Files of the workspace."""

    @property
    def folders(self) -> Sequence[str]:
        """Return the workspace's own folders, links followed."""
        ...

    def look(self, path: str) -> Look:
        """Read a file, or return why it may not be seen."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """tokens: of all excerpts, estimated. files: other files at most, open ones included. bytes: read in all."""

    tokens: int = 1024
    files: int = 8
    bytes: int = ALL_BYTES


@dataclass(frozen=True, slots=True)
class Choice:
    """An excerpt offered. score: its rank among others. why: in words. place: the path or URI it is from."""

    source: Source
    place: str
    title: str
    text: str
    score: float
    why: str

    @property
    def tokens(self) -> int:
        """Return the estimated number of tokens."""
        return int((len(self.title) + len(self.text) + 5) / TOKEN) + 1


OVER = "the time was over"  # why a place was not taken


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A place that was not taken, and why."""

    source: Source
    place: str
    why: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The choices, the most useful last, and what was left out. older: they are the answer to an older question."""

    choices: tuple[Choice, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    older: bool = field(default=False, compare=False)

    @property
    def excerpts(self) -> tuple[Excerpt, ...]:
        """Return the choices as the engine's request has them."""
        return tuple(Excerpt(choice.title, choice.text) for choice in self.choices)

    @property
    def cut_short(self) -> bool:
        """Return whether there was no time to look at everything."""
        return any(each.why == OVER for each in self.left_out)


@dataclass(frozen=True, slots=True)
class Question:
    """A question: which text of other places may be seen, for a hole at `offset` of a document?

    forbidden: returns why a document is not for the model by its path or its URI, or "". secret: whether no part of a
    text is. redacted: takes the secrets out of a text.
    """

    document: Document
    offset: int
    reader: Reader
    sources: tuple[Source, ...]
    around: Around = Around()
    limits: Limits = Limits()
    forbidden: Callable[[str], str] = lambda path: ""
    secret: Callable[[str], bool] = lambda text: False
    redacted: Callable[[str], str] = lambda text: text
