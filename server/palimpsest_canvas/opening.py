"""Read the document that a command names, with the hole in it."""

from __future__ import annotations

from pathlib import Path

from palimpsest_canvas.document import Document, cut
from palimpsest_engine import Span, language_id
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_server.cli import files, places
from palimpsest_server.cli.holes import holes_in, without_markers

Where = places.Place | places.Lines | places.Stretch | None


def document_of(path: str, where: Where, language: str | None) -> tuple[Document, bool]:
    """Return a file with the hole that was named, or else its first one, or else one at its end; and whether it has one.

    Raises PalimpsestError if there is no such file or place.
    """
    file = files.read(path)
    text, found = file.text, True
    if where is not None:
        hole = places.span_of(text, where)
    elif holes := holes_in(text, language_of(path, language)):
        text, spans = without_markers(text, holes)
        hole = spans[0]
    else:
        hole, found = Span(len(text), len(text)), False
    known = language or language_id("", path)
    return cut(Document(None, Path(path).name, known, None, text, hole.start, hole.end)), found
