"""Keep the open documents as the editor has them; only the event loop touches this, others get a `Snapshot`.

A client's text is taken whatever it does: versions that go back, a document opened twice, ranges that are backwards or
past the end. Breaches of the protocol are logged, once a document.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lsprotocol import types

from palimpsest_engine import Span, language_id
from palimpsest_server.documents.changes import Changes
from palimpsest_server.documents.edit_history import History, RecentEdit
from palimpsest_server.documents.latest import Latest
from palimpsest_server.documents.marks import Marks
from palimpsest_server.documents.notebooks import CellNews, Notebooks
from palimpsest_server.documents.rope import Text
from palimpsest_server.documents.uris import name_of, path_of, spelled_alike
from palimpsest_server.protocol import positions

logger = logging.getLogger(__name__)

_FEW = 16  # changes in one message; more of them are a formatter's or a renaming, not typing
_SAID = 256
_NAMED = 3
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document at one version.

    language: the LSP language id that it is taken for, empty if nothing tells. called: the client's name for the language.
    """

    uri: str
    version: int
    content: Text
    language: str
    called: str = ""

    @property
    def path(self) -> Path | None:
        """Return the path of the document or its notebook; None if it is no file."""
        return path_of(self.uri)

    @property
    def text(self) -> str:
        """Return the whole text; it is built once, and in a large document that takes a while."""
        return str(self.content)

    def span_of(self, range_: types.Range, encoding: positions.Encoding) -> Span:
        """Return the code points of a range, in order even if the client has it backwards."""
        start = self.content.offset_at(range_.start, encoding)
        end = self.content.offset_at(range_.end, encoding)
        return Span(min(start, end), max(start, end))

    def range_at(self, start: int, end: int, encoding: positions.Encoding) -> types.Range:
        """Return the range of two offsets."""
        return self.content.range_at(start, end, encoding)


class Documents:
    """Every open document, cells of notebooks among them, at its newest version.

    encoding: the unit of columns that the client and this server agreed on. changes: what was changed, as a person would say;
    marks: places that move with their text.
    """

    def __init__(self, encoding: positions.Encoding = positions.Encoding.Utf16) -> None:
        self.encoding = encoding
        self.marks = Marks()
        self.changes = Changes(self.marks)
        self._open: dict[str, Snapshot] = {}
        self._edited: dict[str, None] = {}  # the one edited last is the last
        self._history = History()
        self._notebooks = Notebooks()
        self._lost: set[str] = set()
        self._said = Latest[tuple[str, str], None](_SAID)

    def snapshot(self, uri: str) -> Snapshot | None:
        """Return the document as it is now, or None if it is not open under any spelling of its URI."""
        return self._open.get(uri) or self._open.get(self.opened(uri))

    def opened(self, uri: str) -> str:
        """Return a URI as the document was opened with it; unchanged, if none was, or several under other spellings."""
        if uri in self._open or len(alike := self._alike(uri)) != 1:
            return uri
        return alike[0]

    def why_not_open(self, uri: str) -> str:
        """Return that a document is not open, and which open one its URI resembles."""
        loosely = spelled_alike(uri).casefold()
        alike = self._alike(uri) or [each for each in self._open if spelled_alike(each).casefold() == loosely]
        resembling = f"; {' and '.join(alike[:_NAMED])} {'is' if len(alike) == 1 else 'are'}" if alike else ""
        return f"the document is not open{resembling}"

    def _alike(self, uri: str) -> list[str]:
        """Return the URIs of the open documents that are other spellings of this one."""
        name = spelled_alike(uri)
        return [each for each in self._open if spelled_alike(each) == name]

    def current(self, snapshot: Snapshot) -> bool:
        """Return whether the document is the same as at the snapshot."""
        return self._open.get(snapshot.uri) is snapshot

    def open(self, item: types.TextDocumentItem) -> None:
        """Take a document over from the client; opened a second time, it has the new text."""
        if item.uri in self._open:
            self._say(item.uri, "was opened a second time; its text is the new one")
        self.close(item.uri)
        language = language_id(item.language_id, name_of(item.uri))
        self._open[item.uri] = Snapshot(item.uri, item.version, Text.of(_paired(item.text)), language, item.language_id)

    def change(
        self, uri: str, version: int, changes: Sequence[types.TextDocumentContentChangeEvent]
    ) -> Snapshot | None:
        """Apply the client's changes in order; return None if the document is not open.

        A version that does not increase is taken all the same: messages arrive in order, so the text is right, and edits have
        to name the client's present version.
        """
        uri = self.opened(uri)
        document = self._open.get(uri)
        if document is None:
            self._say(uri, "is changed but not open; the changes are left out")
            return None
        if version <= document.version:
            self._say(uri, "went from version %s to %s; its changes are applied", document.version, version)
        content = document.content
        for change in changes:
            before = content
            if isinstance(change, types.TextDocumentContentChangeWholeDocument):
                self._history.settle(uri)
                content = Text.of(_paired(change.text))
                self.changes.forget(uri)
                self._lost.discard(uri)
                continue
            start, end, new = splice_of(before, change, self.encoding)
            content = before.replaced(start, end, new)
            if len(changes) <= _FEW:
                self._history.note(uri, before, start, end, len(new), content)
            self.changes.note(uri, before, start, end, new, content, typed=len(changes) <= _FEW)
        if len(changes) > _FEW:
            self._history.settle(uri)
        self._edited.pop(uri, None)
        self._edited[uri] = None
        changed = self._open[uri] = replace(document, version=version, content=content)
        return changed

    def close(self, uri: str) -> None:
        """Forget a document; its recent edits stay. The URI has to be the very one that it was opened with."""
        self._history.settle(uri)
        self.changes.forget(uri)
        self._notebooks.abandon(uri)
        self._open.pop(uri, None)
        self._edited.pop(uri, None)
        self._lost.discard(uri)

    # Texts that are not the client's

    def lose(self, uri: str | None) -> tuple[str, ...]:
        """Take note of a change that could not be read, of a document or of a cell of a notebook, None for any.

        The texts are not the client's until it sends them whole. Returns the documents of which that is news.
        """
        concerned = (self.opened(uri), *self._notebooks.documents(uri)) if uri is not None else tuple(self._open)
        news = tuple(each for each in concerned if each in self._open and each not in self._lost)
        for each in news:
            self._open[each] = replace(self._open[each])  # so that results for the old one are not current
        self._lost.update(news)
        return news

    def lost(self, uri: str) -> bool:
        """Return whether the document's text is not the client's."""
        return uri in self._lost

    # Notebooks

    def open_notebook(self, params: types.DidOpenNotebookDocumentParams) -> CellNews:
        """Take a notebook and its cells over from the client; opened a second time, it is the new one."""
        uri = params.notebook_document.uri
        if uri in self._notebooks:
            self._say(uri, "was opened a second time; its cells are the new ones")
        before = self._notebooks.close(uri)
        self._notebooks.open(uri, params.notebook_document.cells)
        opened = self._open_cells(uri, params.cell_text_documents)
        gone = tuple(cell for cell in before if cell not in opened)
        for cell in gone:
            self.close(cell)
        return CellNews(opened, gone)

    def change_notebook(self, params: types.DidChangeNotebookDocumentParams) -> CellNews:
        """Apply the client's changes: to the row of cells first, then to their kinds, then to their texts."""
        uri = params.notebook_document.uri
        if uri not in self._notebooks:
            self._say(uri, "is a notebook that is changed but not open; the changes are left out")
            return CellNews()
        cells = params.change.cells
        if cells is None:
            return CellNews()
        closed: tuple[str, ...] = ()
        changed: tuple[str, ...] = ()
        if cells.structure is not None:
            if not self._notebooks.splice(uri, cells.structure.array):
                self._say(uri, "is a notebook with fewer cells than were taken out of it")
            closed = self._close_cells(cells.structure.did_close or ())
            changed = self._open_cells(uri, cells.structure.did_open or ())
            closed = tuple(cell for cell in closed if cell not in changed)
        if cells.data:
            self._notebooks.update(uri, cells.data)
        for of_cell in cells.text_content or ():
            cell = of_cell.document
            if self.change(cell.uri, cell.version, of_cell.changes) is not None:
                changed += (cell.uri,)
        return CellNews(tuple(dict.fromkeys(changed)), closed)

    def close_notebook(self, params: types.DidCloseNotebookDocumentParams) -> CellNews:
        """Forget a notebook and every cell that was opened for it."""
        uri = params.notebook_document.uri
        if uri not in self._notebooks:
            self._say(uri, "is a notebook that is closed but not open")
        cells = [types.TextDocumentIdentifier(cell) for cell in self._notebooks.close(uri)]
        return CellNews(closed=self._close_cells((*cells, *params.cell_text_documents)))

    def notebook_of(self, uri: str) -> tuple[Snapshot, ...]:
        """Return the code cells of the notebook that a cell is in, in order, itself among them; () for all else."""
        cells = map(self._open.get, self._notebooks.code_cells(uri))
        return tuple(cell for cell in cells if cell is not None)

    def _open_cells(self, notebook: str, items: Sequence[types.TextDocumentItem]) -> tuple[str, ...]:
        for item in items:
            self.open(item)
            self._notebooks.adopt(notebook, item.uri)
        return tuple(item.uri for item in items)

    def _close_cells(self, cells: Sequence[types.TextDocumentIdentifier]) -> tuple[str, ...]:
        """Close those cells that are open, and return them."""
        closed = tuple(dict.fromkeys(cell.uri for cell in cells if cell.uri in self._open))
        for uri in closed:
            self.close(uri)
        return closed

    # Recent changes

    def recent(self) -> tuple[Snapshot, ...]:
        """Return the open documents: those edited, the latest first, then the others, the latest opened first."""
        rest = [uri for uri in reversed(self._open) if uri not in self._edited]
        return tuple(self._open[uri] for uri in (*reversed(self._edited), *rest))

    def recent_edits(self) -> tuple[RecentEdit, ...]:
        """Return the last few edits of all documents, closed ones too, the newest first.

        Whole documents replaced at once, large pastes and messages with many changes are not among them.
        """
        return self._history.edits()

    def _say(self, uri: str, what: str, *figures: int) -> None:
        """Log a client's oddity once a document, since it comes with every keystroke."""
        if (uri, what) not in self._said:
            self._said[uri, what] = None
            logger.warning("%s " + what, uri, *figures)


def splice_of(
    text: Text, change: types.TextDocumentContentChangePartial, encoding: positions.Encoding
) -> tuple[int, int, str]:
    """Return the span that a change replaces, as offsets in order, and its new text.

    A client that counts in UTF-16 may cut between two surrogates, or put one next to another. Then the splice has
    both halves and makes one character of them, as it is for the client.
    """
    first, last = sorted((change.range.start, change.range.end), key=lambda edge: (edge.line, edge.character))
    start, end, new = text.offset_at(first, encoding), text.offset_at(last, encoding), change.text
    if encoding is not positions.Encoding.Utf16:
        return start, end, new
    if cut := _halves(text, start, first):
        new = cut[0] + new
    if cut := _halves(text, end, last):
        new, end = new + cut[1], end + 1
    before, after = text.slice(max(start - 1, 0), start), text.slice(end, end + 1)
    if "\ud800" <= before <= "\udbff" and "\udc00" <= (new + after)[:1] <= "\udfff":
        new, start = before + new, start - 1
    if "\udc00" <= after <= "\udfff" and "\ud800" <= new[-1:] <= "\udbff":
        new, end = new + after, end + 1
    return start, end, _paired(new)


def _halves(text: Text, offset: int, position: types.Position) -> tuple[str, str] | None:
    """Return the surrogates of the character at an offset, if the position that led there is between them."""
    char = text.slice(offset, offset + 1)
    if char <= "\uffff" or text.position_at(offset, positions.Encoding.Utf16).character + 1 != position.character:
        return None
    beyond = ord(char) - 0x10000
    return chr(0xD800 + (beyond >> 10)), chr(0xDC00 + (beyond & 0x3FF))


def _paired(text: str) -> str:
    """Return the text with no surrogate pair as two characters."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
