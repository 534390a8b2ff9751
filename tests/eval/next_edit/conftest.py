"""A small case of a renamed name, with what is due after it."""

from __future__ import annotations

import pytest

from palimpsest_engine.changes import Change, OpenDocument
from palimpsest_engine.request import Span
from palimpsest_eval.next_edit.cases import Case, Option

TEXT = "size = 4\nprint(width, width)\nuse(width)\n# width\n"


def option(start: int, end: int, text: str, document: str = "a.py") -> Option:
    return Option(document, Span(start, end), text)


@pytest.fixture
def case() -> Case:
    documents = (OpenDocument("a.py", TEXT, None, "a.py"), OpenDocument("b.py", "show(width)\n", None, "b.py"))
    change = Change("a.py", 0, "width = 4\n", "size = 4\n")
    due = tuple((option(at, at + 5, "size"),) for at in (15, 22, 33))
    elsewhere = (option(5, 10, "size", "b.py"),)
    allowed = ((option(42, 47, "size"),),)
    return Case("renamed", "python", "rename", "syntax", documents, (change,), 8, (*due, elsewhere), allowed)
