"""Say what a renamed definition and another open document have to do with each other: paths, sides, what is free there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from palimpsest_engine.changes import Certainty, OpenDocument
from palimpsest_engine.syntax.next_edit.renamed import Renamed
from palimpsest_engine.syntax.next_edit.scopes import FILE, Occurrence, Scopes
from palimpsest_engine.syntax.tree import Range

if TYPE_CHECKING:
    from tree_sitter import Node

Followed = Iterator[tuple[Occurrence, Certainty]]

_SCHEME = re.compile(r"([A-Za-z][\w+.-]+):")  # a letter alone is a drive
_WINDOWS = re.compile(r"/?[A-Za-z]:[\\/]|\\\\")


@dataclass(frozen=True, slots=True)
class Side:
    """An open document. path: None if it has none, as those that were never saved."""

    path: PurePosixPath | None
    scopes: Scopes

    @property
    def folder(self) -> PurePosixPath | None:
        """Return the folder that it lies in."""
        return None if self.path is None else self.path.parent

    def text(self, place: Range) -> str:
        """Return what stands in some bytes."""
        return self.scopes.parsed.data[slice(*place)].decode("utf-8", "replace")

    def node(self, place: Range) -> Node | None:
        """Return the smallest node that holds some bytes."""
        tree = self.scopes.parsed.tree
        return None if tree is None else tree.root_node.descendant_for_byte_range(*place)

    def names(self, name: str) -> bool:
        """Return whether a name occurs, at the price of a search."""
        return name.encode() in self.scopes.parsed.data

    def defines(self, name: str) -> list[Occurrence]:
        """Return the definitions of a name for the whole document, imports among them."""
        return self.scopes.definitions(name, FILE) if self.names(name) else []


@dataclass(frozen=True, slots=True)
class Pair:
    """A definition that was renamed here, a document there that names it, and the other open ones of the language."""

    renamed: Renamed
    here: Side
    there: Side
    others: tuple[Side, ...]

    def named(self) -> tuple[Occurrence, ...]:
        """Return all occurrences of the old name there."""
        return self.there.scopes.of(self.renamed.old)

    def unresolved(self) -> list[Occurrence]:
        """Return the uses there that nothing in their document defines; none if the new name means something there."""
        scopes = self.there.scopes
        uses = [each for each in self.named() if each.role == "reference" and not scopes.resolve(each)]
        if self.there.defines(self.renamed.new) or any(scopes.resolve(each, name=self.renamed.new) for each in uses):
            return []
        return uses


def is_gone(pair: Pair) -> bool:
    """Return whether nothing here has the old name any more, and nothing else the new one."""
    return not pair.here.defines(pair.renamed.old) and len(pair.here.defines(pair.renamed.new)) == 1


def path_of(document: OpenDocument) -> PurePosixPath | None:
    """Return the path of a document, with `/` between its parts on all systems; None if it has none, or no name."""
    text = document.path
    if text is None:
        scheme = _SCHEME.match(document.name)
        if scheme is not None and scheme[1].lower() != "file":
            return None
        text = document.name if scheme is None else unquote(_path_of_uri(document.name))
    if _WINDOWS.match(text):
        text = text.replace("\\", "/")
    path = PurePosixPath(posixpath.normpath(text))
    return path if path.name else None


def _path_of_uri(uri: str) -> str:
    try:
        return urlsplit(uri).path
    except ValueError:  # a host in brackets that is none
        return ""
