"""The changes that a person makes, and where they stand now."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_engine import Change
from palimpsest_server.documents.changes import Changes
from palimpsest_server.documents.store import Documents
from palimpsest_server.protocol.positions import Encoding

A, B = "file:///a.py", "file:///b.py"
CODE = "def f(limit):\n    return limit\n\n\nf(3)\n"


class Typist:
    """Changes documents by what stands there: `old` becomes `new`."""

    def __init__(self, **texts):
        self.now = 100.0
        self.documents = Documents(Encoding.Utf32)
        self.documents.changes = Changes(self.documents.marks, lambda: self.now)
        for name, text in texts.items():
            self.documents.open(types.TextDocumentItem(f"file:///{name}.py", "python", 1, text))

    def text(self, uri=A):
        return self.documents.snapshot(uri).text

    def splice(self, start, end, new, uri=A):
        self.send([(start, end, new)], uri)

    def send(self, splices, uri=A):
        changes = []
        content = self.documents.snapshot(uri).content
        for start, end, new in splices:
            where = content.range_at(start, end, Encoding.Utf32)
            changes.append(types.TextDocumentContentChangePartial(where, new))
            content = content.replaced(start, end, new)
        version = self.documents.snapshot(uri).version + 1
        self.documents.change(uri, version, changes)

    def change(self, old, new, uri=A, nth=0):
        at = -1
        for _ in range(nth + 1):
            at = self.text(uri).index(old, at + 1)
        self.splice(at, at + len(old), new, uri)

    def type(self, at, keys, uri=A):
        for key in keys:
            self.splice(at, at, key, uri)
            at += len(key)

    def recent(self):
        return self.documents.changes.recent(lambda uri: (found := self.documents.snapshot(uri)) and found.content)


def test_typing_a_word_is_one_change_in_whole_lines():
    typist = Typist(a=CODE)
    typist.change("limit", "")
    typist.type(6, "most")
    assert typist.recent() == (Change(A, 0, "def f(limit):\n", "def f(most):\n"),)


def test_a_change_moves_with_its_text_and_the_newest_is_first():
    typist = Typist(a=CODE)
    typist.change("f(3)", "f(4)")
    typist.splice(0, 0, "# a note\n")
    first, second = typist.recent()
    assert first == Change(A, 0, "", "# a note\n")
    assert second == Change(A, typist.text().index("f(4)"), "f(3)\n", "f(4)\n")


def test_changes_of_all_documents_are_there_until_they_are_closed():
    typist = Typist(a=CODE, b="f(1)\n")
    typist.change("limit", "most")
    typist.change("1", "2", B)
    assert [each.document for each in typist.recent()] == [B, A]
    typist.documents.close(B)
    assert [each.document for each in typist.recent()] == [A]


def test_another_line_is_another_change_and_going_back_to_it_is_one_more():
    typist = Typist(a="a = 1\nb = 1\nc = 1\n")
    for old in "ab":
        typist.change(f"{old} = 1", f"{old} = 2")
    assert [each.after for each in typist.recent()] == ["b = 2\n", "a = 2\n"]
    typist.change("a = 2", "a = 3")
    assert [(each.before, each.after) for each in typist.recent()] == [("b = 1\n", "b = 2\n"), ("a = 1\n", "a = 3\n")][
        ::-1
    ]


def test_a_line_that_is_changed_much_later_is_another_change():
    typist = Typist(a="a = 1\n")
    typist.splice(4, 5, "2")
    typist.now += 61
    typist.splice(4, 5, "3")
    assert typist.recent()[0] == Change(A, 0, "a = 2\n", "a = 3\n")


def test_a_change_inside_of_what_was_typed_before_is_a_change_of_its_own():
    typist = Typist(a="\n")
    typist.type(0, ["def f(limit):", "\n    ", "return limit"])
    typist.change("limit", "most")
    newest, oldest = typist.recent()
    assert newest == Change(A, 0, "def f(limit):\n", "def f(most):\n")
    assert (oldest.before, oldest.after) == ("\n", "def f(most):\n    return limit\n")


def test_several_cursors_are_a_change_on_each_line():
    typist = Typist(a="a = x\nb = x\n")
    typist.send([(10, 11, "y"), (4, 5, "y")])
    typist.send([(11, 11, "z"), (5, 5, "z")])
    assert {each.after for each in typist.recent()} == {"a = yz\n", "b = yz\n"}


def test_an_undone_change_is_none():
    typist = Typist(a=CODE)
    typist.change("3", "4")
    typist.change("limit", "most")
    assert typist.documents.changes.last_undone == ""
    typist.change("most", "limit")
    assert typist.documents.changes.last_undone == A
    assert [each.after for each in typist.recent()] == ["f(4)\n"]
    typist.change("4", "3")
    assert typist.recent() == ()
    typist.change("3", "5")
    assert typist.documents.changes.last_undone == ""


@pytest.mark.parametrize(
    "new",
    [
        [(at, at + 1, "  ") for at in range(20)],
        [(0, 3, "x" * 2001)],
        [(0, 0, " ")],
        [(0, 3, "def")],
    ],
    ids=["many", "large", "blanks", "the same"],
)
def test_formatting_and_large_texts_are_no_changes(new):
    typist = Typist(a=CODE * 40)
    typist.send(new)
    assert typist.recent() == ()


def test_a_document_replaced_as_a_whole_has_no_changes():
    typist = Typist(a=CODE)
    typist.change("limit", "most")
    typist.documents.change(A, 3, [types.TextDocumentContentChangeWholeDocument(CODE)])
    assert typist.recent() == ()


def test_old_changes_and_more_than_a_few_are_left_out():
    typist = Typist(a="".join(f"a{number} = 1\n" for number in range(12)))
    for number in range(12):
        typist.change(f"a{number} = 1", f"a{number} = 2")
        typist.now += 100
    assert [each.after for each in typist.recent()] == [f"a{number} = 2\n" for number in range(11, 5, -1)]
    typist.now += 601
    assert typist.recent() == ()


def test_lines_that_go_and_come_are_whole():
    typist = Typist(a="a\nb\nc\n")
    typist.splice(2, 4, "")
    assert typist.recent() == (Change(A, 2, "b\n", ""),)
    typist.splice(0, 0, "x\n")
    assert typist.recent()[0] == Change(A, 0, "", "x\n")
    typist.now += 61
    typist.splice(4, 5, "C\r\nD")
    assert typist.recent()[0] == Change(A, 4, "c\n", "C\r\nD\n")


def test_an_accepted_edit_is_a_change_of_its_own():
    typist = Typist(a="f(limit, limit)\n")
    typist.change("limit", "most")
    typist.documents.changes.accepts = lambda uri, old, start, end, text: "n1"
    typist.change("limit", "most")
    typist.documents.changes.accepts = lambda uri, old, start, end, text: ""
    typist.change("f(", "g(")
    assert [(each.before, each.after) for each in typist.recent()] == [
        ("f(limit, most)\n", "g(most, most)\n"),
        ("g(most, limit)\n", "g(most, most)\n"),
    ]


def test_undoing_an_accepted_edit_is_told():
    typist, undone = Typist(a=CODE), []
    typist.documents.changes.accepts = lambda uri, old, start, end, text: "n1"
    typist.documents.changes.undone = lambda *told: undone.append(told)
    typist.change("limit", "most")
    typist.change("most", "limit")
    assert undone == [("n1", 6)]


SPLICES = st.tuples(st.integers(0, 30), st.integers(0, 6), st.text("ab\n\r ", max_size=6), st.integers(0, 90))


@given(st.text("ab\n ", max_size=20), st.lists(SPLICES, max_size=12))
def test_the_text_after_a_change_stands_where_it_says(text, splices):
    typist = Typist(a=text)
    for start, length, new, seconds in splices:
        size = len(typist.text())
        start = min(start, size)
        typist.now += seconds
        typist.splice(start, min(start + length, size), new)
        content = typist.text()
        for each in typist.recent():
            assert content.startswith(each.after, each.start)
            assert each.before != each.after
            lines = {0, *(at + 1 for at in range(len(content)) if content[at] in "\r\n"), len(content)}
            assert {each.start, each.start + len(each.after)} <= lines
