"""The frozen values of next edits: what a person has changed, and what has to change with it. Text only: no trees, no LSP.

Offsets are code points, as in `request.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from palimpsest_engine.request import Span

NOTHING_FOLLOWS = "nothing follows from the last change"  # as far as syntax decides it; a model may know better

Certainty = Literal["sure", "likely", "possible"]
EditKind = Literal["rename", "sibling", "argument", "import", "mend", "model"]


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A document as it is now. name: its identity, a URI or a path; language, path: as in `FillRequest`."""

    name: str
    text: str
    language: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as a person would call it: some whole lines of a document have become others.

    document: the name of an `OpenDocument`. start: the offset of `after` in its present text; None if it is not there any
    more, as it was changed again or the document is closed. before, after: whole lines with their line ends, "" for none.
    """

    document: str
    start: int | None
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """An error or a warning of the tools of a language, about a place in the present text of a document."""

    document: str
    span: Span
    message: str


@dataclass(frozen=True, slots=True)
class NextEditQuestion:
    """The question which places have to change after some changes.

    documents: those that may be edited, the one with the cursor first. changes: the newest first. cursor: an offset in the
    first document. diagnostics: as far as the editor tells them. budget_ms: processor time for the search.
    """

    documents: tuple[OpenDocument, ...]
    changes: tuple[Change, ...]
    cursor: int
    diagnostics: tuple[Diagnostic, ...] = ()
    budget_ms: float = 30.0

    def __post_init__(self) -> None:
        if not self.documents:
            raise ValueError("a next edit needs at least one document")
        if not 0 <= self.cursor <= len(self.documents[0].text):
            raise ValueError(f"the cursor {self.cursor} lies outside the text of {len(self.documents[0].text)}")


@dataclass(frozen=True, slots=True)
class NextEdit:
    """An edit that follows from a change: replace `span` of the document by `text`.

    reason: for people, such as "`limit` was renamed above". certainty: "sure" if syntax decides it, "likely" if it follows a
    pattern that was seen more than once, "possible" otherwise.
    """

    document: str
    span: Span
    text: str
    kind: EditKind
    reason: str
    certainty: Certainty = "sure"


@dataclass(frozen=True, slots=True)
class Place:
    """A place that has to change, though syntax does not say how: a model may. span: what is concerned, such as a call."""

    document: str
    span: Span
    reason: str
    certainty: Certainty = "likely"


@dataclass(frozen=True, slots=True)
class FollowUps:
    """The answer to a `NextEditQuestion`: edits and places, both ranked. reason: why there are no edits; "" if there are."""

    edits: tuple[NextEdit, ...] = ()
    places: tuple[Place, ...] = ()
    reason: str = ""
