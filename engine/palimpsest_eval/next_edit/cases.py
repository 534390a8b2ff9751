"""Read the cases of next edit: a change, and the edits that are due after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest_engine import Span
from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.errors import DataError, DocumentMissing


@dataclass(frozen=True, slots=True)
class Option:
    """A text in place of a span of a document."""

    document: str
    span: Span
    text: str


Due = tuple[Option, ...]  # edits any of which does what is due at a place


@dataclass(frozen=True, slots=True)
class Case:
    """A change and what is due after it.

    needs: "syntax", "model" or "nothing". due: what has to change, place by place. allowed: what may change as well.
    """

    id: str
    language: str
    kind: str
    needs: str
    documents: tuple[OpenDocument, ...]
    changes: tuple[Change, ...]
    cursor: int
    due: tuple[Due, ...]
    allowed: tuple[Due, ...]

    @property
    def loud(self) -> bool:
        """Return whether anything is due."""
        return self.needs != "nothing"

    def question(self, budget_ms: float) -> NextEditQuestion:
        """Return what an editor would ask now."""
        return NextEditQuestion(self.documents, self.changes, self.cursor, budget_ms=budget_ms)


def read(path: Path) -> list[Case]:
    """Read cases, one a line. Raises DocumentMissing or DataError."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise DocumentMissing(f"there is no file {path}") from error
    try:
        return [_case(json.loads(line)) for line in text.splitlines() if line.strip()]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} has no cases of next edit") from error


def _case(row: dict[str, Any]) -> Case:
    documents = tuple(OpenDocument(each["path"], each["text"], None, each["path"]) for each in row["documents"])
    changes = tuple(Change(**each) for each in row["changes"])
    due, allowed = (tuple(_options(row[key])) for key in ("due", "allowed"))
    about = (row["id"], row["language"], row["kind"], row["needs"])
    return Case(*about, documents, changes, row["cursor"], due, allowed)


def _options(rows: list[list[dict[str, Any]]]) -> Iterator[Due]:
    for options in rows:
        yield tuple(Option(each["document"], Span(each["start"], each["end"]), each["text"]) for each in options)
