"""Context of other places stays the same while somebody types on a line, so that the model need not read all of it again."""

from __future__ import annotations

import asyncio

import pytest
from lsprotocol import types

from palimpsest_engine import EngineStatus
from palimpsest_server.documents.store import Documents
from palimpsest_server.session.surroundings import Surroundings
from palimpsest_server.settings import Settings

ENGINE = EngineStatus("ready", sources=("documents",), elsewhere=512)
OWN, OTHER = "file:///project/a.py", "file:///project/b.py"
SHELF = "class Shelf:\n    def add_book(self, book):\n        self.books.append(book)\n"


@pytest.fixture
def documents():
    found = Documents()
    found.open(types.TextDocumentItem(OWN, "python", 1, "shelf = Shelf()\nshelf.add_book(book)\n\n"))
    found.open(types.TextDocumentItem(OTHER, "python", 1, SHELF))
    return found


def typed(documents, uri, line, character, text):
    place = types.Position(line, character)
    version = documents.snapshot(uri).version + 1
    documents.change(uri, version, [types.TextDocumentContentChangePartial(types.Range(place, place), text)])


async def excerpts(surroundings, documents, line=1, character=6, having=""):
    """Return the excerpts once some have that text: what takes longer than its patience serves the next request."""
    document = documents.snapshot(OWN)
    offset = document.content.line_bounds(line)[0] + character
    async with asyncio.timeout(30):
        while True:
            found = await surroundings.excerpts(document, offset, Settings(), ENGINE)
            if any(having in each.text for each in found):
                return found
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("patience", [30.0, 0.0], ids=["in time", "each too late for its own question"])
async def test_a_line_keeps_its_excerpts_until_another_document_changes(documents, monkeypatch, patience):
    monkeypatch.setattr("palimpsest_server.session.surroundings._PATIENCE_SECONDS", patience)
    surroundings = Surroundings(documents)
    try:
        first = await excerpts(surroundings, documents)
        assert "add_book" in first[0].text
        typed(documents, OWN, 1, 5, "_2")
        assert await excerpts(surroundings, documents) is first
        assert await excerpts(surroundings, documents, line=2, character=0) is not first
        again = await excerpts(surroundings, documents)
        typed(documents, OTHER, 2, 0, "        # shelves have no end\n")
        changed = await excerpts(surroundings, documents, having="no end")
        assert changed is not again
        surroundings.forget(OWN)
        assert await excerpts(surroundings, documents) is not changed
    finally:
        surroundings.close()
