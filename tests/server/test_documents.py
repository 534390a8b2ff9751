"""The server's text is the editor's text, whatever is edited and however columns are counted."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_engine import FillRequest
from palimpsest_server import edit
from palimpsest_server.documents import Documents
from palimpsest_server.wire import Encoding

URI = "file:///a.py"
TEXTS = st.text(st.sampled_from("ab (\t\r\n\x0c\u2028é漢😀𝒳"), max_size=30)
WIDTHS = {
    Encoding.Utf8: lambda char: len(char.encode()),
    Encoding.Utf16: lambda char: 1 + (ord(char) > 0xFFFF),
    Encoding.Utf32: lambda char: 1,
}


@dataclass
class Editor:
    """A client that keeps its text as lines, each with its line end: nothing shared with the server."""

    lines: list[str]

    @staticmethod
    def of(text: str) -> "Editor":
        lines, line = [], ""
        for at, char in enumerate(text):
            line += char
            if char == "\n" or (char == "\r" and text[at + 1 : at + 2] != "\n"):
                lines.append(line)
                line = ""
        return Editor([*lines, line])

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def cursors(self) -> list[tuple[int, int]]:
        """Where a cursor can be: line and code points into it."""
        return [(n, c) for n, line in enumerate(self.lines) for c in range(len(line.rstrip("\r\n")) + 1)]

    def position(self, cursor: tuple[int, int], encoding: Encoding) -> types.Position:
        line, column = cursor
        return types.Position(line, sum(map(WIDTHS[encoding], self.lines[line][:column])))

    def replaced(self, start: tuple[int, int], end: tuple[int, int], new: str) -> "Editor":
        before = "".join(self.lines[: start[0]]) + self.lines[start[0]][: start[1]]
        after = self.lines[end[0]][end[1] :] + "".join(self.lines[end[0] + 1 :])
        return Editor.of(before + new + after)


@pytest.mark.parametrize("encoding", list(WIDTHS))
@given(text=TEXTS, data=st.data())
def test_incremental_edits(encoding, text, data):
    documents = Documents(encoding)
    documents.open(types.TextDocumentItem(URI, "python", 0, text))
    editor = Editor.of(text)
    for version in range(1, data.draw(st.integers(1, 4)) + 1):
        changes: list[types.TextDocumentContentChangeEvent] = []
        for _ in range(data.draw(st.integers(1, 3))):
            new = data.draw(TEXTS)
            if data.draw(st.integers(0, 9)) == 0:
                changes.append(types.TextDocumentContentChangeWholeDocument(new))
                editor = Editor.of(new)
                continue
            cursors = st.sampled_from(editor.cursors())
            start, end = sorted((data.draw(cursors), data.draw(cursors)))
            where = types.Range(editor.position(start, encoding), editor.position(end, encoding))
            changes.append(types.TextDocumentContentChangePartial(where, new))
            editor = editor.replaced(start, end, new)
        snapshot = documents.change(URI, version, changes)
        assert snapshot is not None
        assert (snapshot.version, snapshot.text) == (version, editor.text)


@pytest.mark.parametrize("encoding", list(WIDTHS))
@given(text=TEXTS, fill=TEXTS, data=st.data())
def test_a_fill_changes_nothing_outside_the_hole(encoding, text, fill, data):
    """From the client's selection to the client's application of the edit."""
    documents = Documents(encoding)
    documents.open(types.TextDocumentItem(URI, "python", 3, text))
    document = documents.snapshot(URI)
    assert document is not None
    editor = Editor.of(text)
    start, end = sorted(data.draw(st.tuples(*[st.sampled_from(editor.cursors())] * 2)))
    selected = types.Range(editor.position(start, encoding), editor.position(end, encoding))

    hole = document.span_of(selected, encoding)
    change = edit.smallest(text, hole, fill)
    assert FillRequest(text, (hole,)).splice((fill,)) == editor.replaced(start, end, fill).text
    if change is None:
        return
    where = document.range_at(change.span.start, change.span.end, encoding)
    by_position = {(p.line, p.character): c for c in editor.cursors() for p in [editor.position(c, encoding)]}
    at = [by_position[edge.line, edge.character] for edge in (where.start, where.end)]
    assert editor.replaced(at[0], at[1], change.text).text == editor.replaced(start, end, fill).text


def test_a_snapshot_does_not_change_with_its_document():
    documents = Documents()
    documents.open(types.TextDocumentItem(URI, "python", 1, "a"))
    before = documents.snapshot(URI)
    assert before is not None
    assert documents.current(before)
    documents.change(URI, 2, [types.TextDocumentContentChangeWholeDocument("b")])
    assert (before.version, before.text) == (1, "a")
    assert not documents.current(before)


def test_changing_a_document_that_is_not_open_is_reported():
    assert Documents().change(URI, 1, [types.TextDocumentContentChangeWholeDocument("b")]) is None


def test_a_range_beyond_the_document_is_clamped():
    documents = Documents()
    documents.open(types.TextDocumentItem(URI, "python", 1, "ab\ncd"))
    far = types.Range(types.Position(1, 1), types.Position(900, 900))
    changed = documents.change(URI, 2, [types.TextDocumentContentChangePartial(far, "!")])
    assert changed is not None
    assert changed.text == "ab\nc!"
