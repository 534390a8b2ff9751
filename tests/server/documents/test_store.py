"""The server's text is the editor's text, after any edits and with any counting of columns."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_engine import FillRequest
from palimpsest_server.documents import edits
from palimpsest_server.documents.edit_history import RecentEdit
from palimpsest_server.documents.store import Documents
from palimpsest_server.protocol.positions import Encoding

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
        """Yield every place of a cursor: the line and the code points into it."""
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
    """Go from the client's selection to the client's application of the edit."""
    documents = Documents(encoding)
    documents.open(types.TextDocumentItem(URI, "python", 3, text))
    document = documents.snapshot(URI)
    assert document is not None
    editor = Editor.of(text)
    start, end = sorted(data.draw(st.tuples(*[st.sampled_from(editor.cursors())] * 2)))
    selected = types.Range(editor.position(start, encoding), editor.position(end, encoding))

    hole = document.span_of(selected, encoding)
    change = edits.smallest(text, hole, fill)
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


def typed(documents: Documents, uri: str, line: int, column: int, new: str, length: int = 0, version: int = 0) -> None:
    """Make one change in one message."""
    where = types.Range(types.Position(line, column), types.Position(line, column + length))
    before = documents.snapshot(uri)
    assert before is not None
    documents.change(uri, version or before.version + 1, [types.TextDocumentContentChangePartial(where, new)])


def opened(*texts: str) -> Documents:
    """Open documents `0`, `1` and so on, with these texts."""
    documents = Documents()
    for name, text in enumerate(texts):
        documents.open(types.TextDocumentItem(str(name), "python", 1, text))
    return documents


def texts_of(documents: Documents) -> dict[str, str]:
    return {each.uri: each.text for each in documents.recent()}


# Breaches of the protocol


@given(text=st.text(st.sampled_from("a\n😀𝒳\ud83d\ude00"), max_size=8), data=st.data())
def test_a_client_that_cuts_surrogates_apart_has_its_text_all_the_same(text, data):
    """The client's text is a row of UTF-16 units, and it edits anywhere among them."""
    documents = opened(text)
    units = text.encode("utf-16-le", "surrogatepass")
    for _ in range(data.draw(st.integers(1, 4))):
        cursors = [0]
        lines = [(0, 0)]
        for at in range(0, len(units), 2):
            line, column = lines[-1]
            lines.append((line + 1, 0) if units[at : at + 2] == b"\n\0" else (line, column + 1))
            cursors.append(at + 2)
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(cursors) - 1)] * 2)))
        new = data.draw(st.text(st.sampled_from("a\n😀\ud83d\ude00\ude01"), max_size=3))
        where = types.Range(types.Position(*lines[start]), types.Position(*lines[end]))
        documents.change("0", 2, [types.TextDocumentContentChangePartial(where, new)])
        units = units[: 2 * start] + new.encode("utf-16-le", "surrogatepass") + units[2 * end :]
        assert texts_of(documents)["0"] == units.decode("utf-16-le", "surrogatepass")


def test_a_version_that_goes_back_is_taken_and_logged_once(caplog):
    documents = opened("abc")
    for version in (7, 3, 3, 2):
        typed(documents, "0", 0, 0, "x", version=version)
    snapshot = documents.snapshot("0")
    assert snapshot is not None
    assert (snapshot.version, snapshot.text) == (2, "xxxxabc")
    assert [record.message for record in caplog.records] == ["0 went from version 7 to 3; its changes are applied"]


def test_a_document_opened_twice_has_its_second_text(caplog):
    documents = opened("a")
    documents.open(types.TextDocumentItem("0", "rust", 1, "b"))
    snapshot = documents.snapshot("0")
    assert snapshot is not None
    assert (snapshot.text, snapshot.language) == ("b", "rust")
    assert "a second time" in caplog.text


def test_changes_of_a_document_that_is_not_open_are_logged_once(caplog):
    documents = opened()
    for version in range(9):
        documents.change("9", version, [types.TextDocumentContentChangeWholeDocument("b")])
    assert len(caplog.records) == 1
    documents.close("9")
    assert texts_of(documents) == {}


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ((1, 1), (0, 1), "a!d\nef"),  # backwards
        ((9, 9), (9, 9), "ab\ncd\nef!"),
        ((0, 900), (1, 0), "ab!cd\nef"),
        ((0, 0), (2**31 - 1, 2**31 - 1), "!"),
    ],
)
def test_strange_ranges_are_put_in_order(start, end, text):
    documents = opened("ab\ncd\nef")
    where = types.Range(types.Position(*start), types.Position(*end))
    documents.change("0", 2, [types.TextDocumentContentChangePartial(where, "!", range_length=77)])
    assert texts_of(documents) == {"0": text}


@pytest.mark.parametrize("uri", ["untitled:Untitled-1", "vscode-notebook-cell:/a%20b.ipynb#W0sZmlsZQ==", ""])
def test_any_uri_will_do(uri):
    documents = Documents()
    documents.open(types.TextDocumentItem(uri, "python", 1, "a"))
    typed(documents, uri, 0, 1, "b")
    assert texts_of(documents) == {uri: "ab"}
    documents.close(uri)
    assert documents.snapshot(uri) is None


# Recent changes


def test_recent_documents():
    documents = opened("a", "b", "c", "d")
    typed(documents, "1", 0, 0, "x")
    typed(documents, "0", 0, 0, "x")
    typed(documents, "1", 0, 0, "x")
    assert [each.uri for each in documents.recent()] == ["1", "0", "3", "2"]
    documents.close("1")
    assert [each.uri for each in documents.recent()] == ["0", "3", "2"]


FAR = "\n".join(f"line {n} of a document that is long enough" for n in range(100))


def test_typing_in_one_place_is_one_edit_in_whole_lines():
    documents = opened("def f(a):\n    pass\n")
    for at, char in enumerate(", b"):
        typed(documents, "0", 0, 7 + at, char)
    typed(documents, "0", 1, 4, "return a + b", length=4)
    (edit_,) = documents.recent_edits()
    assert edit_ == RecentEdit("0", 0, 1, "def f(a):\n    pass", "def f(a, b):\n    return a + b")


def test_an_edit_elsewhere_is_another_one_and_the_newest_is_the_first():
    documents = opened(FAR, "x = 1\r\n")
    typed(documents, "0", 90, 0, "a")
    typed(documents, "0", 10, 0, "b")
    typed(documents, "1", 0, 5, "2")
    found = [(each.uri, each.first, each.last, each.before, each.after) for each in documents.recent_edits()]
    lines = FAR.split("\n")
    assert found == [
        ("1", 0, 0, "x = 1", "x = 12"),
        ("0", 10, 10, lines[10], "b" + lines[10]),
        ("0", 90, 90, lines[90], "a" + lines[90]),
    ]


def test_typing_with_two_cursors_is_two_edits():
    documents = opened(FAR)
    for at, char in enumerate("abc"):
        where = [types.Range(types.Position(n, at), types.Position(n, at)) for n in (80, 20)]
        documents.change("0", at + 2, [types.TextDocumentContentChangePartial(each, char) for each in where])
    lines = FAR.split("\n")
    assert {(each.before, each.after) for each in documents.recent_edits()} == {
        (lines[n], "abc" + lines[n]) for n in (20, 80)
    }


def test_an_undone_edit_is_none():
    documents = opened(FAR)
    typed(documents, "0", 3, 0, "abc")
    typed(documents, "0", 50, 0, "x")
    typed(documents, "0", 3, 0, "", length=3)
    assert [each.first for each in documents.recent_edits()] == [50]
    typed(documents, "0", 50, 0, "", length=1)
    assert documents.recent_edits() == ()


@pytest.mark.parametrize(
    "changes",
    [
        [types.TextDocumentContentChangeWholeDocument("all of it")],
        [types.TextDocumentContentChangePartial(types.Range(types.Position(0, 0), types.Position(0, 0)), "x" * 9000)],
        [types.TextDocumentContentChangePartial(types.Range(types.Position(0, 0), types.Position(90, 0)), "")],
        [
            types.TextDocumentContentChangePartial(types.Range(types.Position(n, 0), types.Position(n, 1)), "y")
            for n in range(60)
        ],
    ],
    ids=["whole document", "paste", "deletion", "renaming"],
)
def test_edits_that_nobody_types_are_left_out(changes):
    documents = opened(FAR)
    typed(documents, "0", 1, 0, "z")
    before = documents.recent_edits()
    assert len(before) == 1
    documents.change("0", 3, changes)
    assert documents.recent_edits() == before


def test_an_edit_in_a_very_long_line_has_only_the_changed_part():
    documents = opened("x" * 200_000)
    typed(documents, "0", 0, 100_000, "yz", length=1)
    assert documents.recent_edits() == (RecentEdit("0", 0, 0, "x", "yz"),)


@given(text=st.text(st.sampled_from("ab \n"), max_size=60), data=st.data())
def test_the_edit_of_a_short_document_leads_from_the_old_text_to_the_new(text, data):
    """Putting the old lines back gives the old text, since all of it is one place."""
    documents = opened(text)
    for _ in range(data.draw(st.integers(1, 6))):
        line, column, length = (data.draw(st.integers(0, most)) for most in (5, 9, 5))
        typed(documents, "0", line, column, data.draw(st.text(st.sampled_from("ab \n"), max_size=9)), length)
        now = texts_of(documents)["0"]
        found = documents.recent_edits()
        assert len(found) == (now != text)
        for each in found:
            lines = now.split("\n")
            assert "\n".join(lines[each.first : each.last + 1]) == each.after
            assert "\n".join([*lines[: each.first], each.before, *lines[each.last + 1 :]]) == text


@given(data=st.data())
def test_edits_are_few_and_small(data):
    documents = opened(FAR, "")
    for _ in range(data.draw(st.integers(15, 40))):
        new = data.draw(st.sampled_from(["a", "\n", "b" * 700, "c" * 1990, "", "d\ne"]))
        line, column, length = (data.draw(st.integers(0, most)) for most in (110, 30, 9))
        typed(documents, data.draw(st.sampled_from("01")), line, column, new, length)
    found = documents.recent_edits()
    assert len(found) <= 16
    assert all(each.before != each.after for each in found)
    assert all(max(len(each.before), len(each.after)) <= 2000 for each in found)
