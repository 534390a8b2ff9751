"""Know the cells of each notebook, their order, and which of them are code; knows URIs, no text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lsprotocol import types


@dataclass(frozen=True, slots=True)
class CellNews:
    """The documents that a message about a notebook changed (or opened), and those that it closed."""

    changed: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Notebook:
    """cells: those in it now, in order. documents: those opened for it and not closed, in the order of opening."""

    cells: list[types.NotebookCell]
    documents: dict[str, None]


class Notebooks:
    """The open notebooks."""

    def __init__(self) -> None:
        self._open: dict[str, _Notebook] = {}
        self._of: dict[str, str] = {}  # the notebook of each cell document

    def __contains__(self, uri: str) -> bool:
        return uri in self._open

    def open(self, uri: str, cells: Sequence[types.NotebookCell]) -> None:
        """Take a notebook over; its cell documents are adopted one by one."""
        self._open[uri] = _Notebook(list(cells), {})

    def documents(self, uri: str) -> tuple[str, ...]:
        """Return the cell documents that are open for a notebook."""
        return tuple(self._open[uri].documents) if uri in self._open else ()

    def close(self, uri: str) -> tuple[str, ...]:
        """Forget a notebook; return the cell documents that were open for it."""
        notebook = self._open.pop(uri, None)
        if notebook is None:
            return ()
        for document in notebook.documents:
            self._of.pop(document, None)
        return tuple(notebook.documents)

    def adopt(self, uri: str, document: str) -> None:
        """Note that a cell document was opened for a notebook."""
        self.abandon(document)
        self._open[uri].documents[document] = None
        self._of[document] = uri

    def abandon(self, document: str) -> None:
        """Note that a cell document was closed."""
        if (uri := self._of.pop(document, None)) is not None:
            del self._open[uri].documents[document]

    def splice(self, uri: str, array: types.NotebookCellArrayChange) -> bool:
        """Take cells out and put others in. Returns False if the notebook has no such cells to take out."""
        cells = self._open[uri].cells
        end = array.start + array.delete_count
        known = end <= len(cells)
        cells[array.start : end] = array.cells or ()
        return known

    def update(self, uri: str, cells: Iterable[types.NotebookCell]) -> None:
        """Give cells another kind."""
        new = {cell.document: cell for cell in cells}
        notebook = self._open[uri]
        notebook.cells = [new.get(cell.document, cell) for cell in notebook.cells]

    def code_cells(self, document: str) -> tuple[str, ...]:
        """Return the code cells of the notebook that a cell document is in, in order."""
        uri = self._of.get(document)
        if uri is None:
            return ()
        return tuple(cell.document for cell in self._open[uri].cells if cell.kind == types.NotebookCellKind.Code)
