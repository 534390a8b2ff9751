"""The place of a conversation is followed through any edits around it, and found again after those in it are undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import Span
from palimpsest_server.documents.marks import Marks
from palimpsest_server.documents.rope import Text
from palimpsest_server.session.conversations import Conversations, Version

URI = "file:///a.py"
FIRST, ANSWER = "the first\n", "<the answer>\n"
SHARE = st.floats(0, 1)
LINES = st.lists(st.sampled_from(["a\n", "b\n", "\n"]), max_size=3).map("".join)


class Document:
    def __init__(self, before, first, after):
        self.text = before + first + after
        self.marks = Marks()
        self.conversation = Conversations(self.marks).about(URI, Span(len(before), len(before + first)), first)

    def change(self, start, end, text):
        self.text = self.text[:start] + text + self.text[end:]
        self.marks.moved(URI, start, end, len(text))

    def standing(self):
        return self.conversation.standing(Text.of(self.text))


def answered(before, first, after):
    """Return a document in which an answer stands; the client has told of its edit before it has answered."""
    document = Document(before, first, after)
    document.change(len(before), len(before + first), ANSWER)
    document.conversation.answered(0, Version(ANSWER, instruction="say"))
    return document


@given(LINES, LINES, st.lists(st.tuples(st.booleans(), SHARE, SHARE, LINES)))
def test_edits_of_lines_on_either_side_move_the_place(before, after, edits):
    document = answered(before, FIRST, after)
    for behind, one, other, text in edits:
        start = document.text.index(ANSWER)
        low, high = (start + len(ANSWER), len(document.text)) if behind else (0, start)
        ends = [low, *(at + 1 for at in range(low, high) if document.text[at] == "\n")]
        edges = sorted(ends[round(share * (len(ends) - 1))] for share in (one, other))
        document.change(*edges, text)
    start = document.text.index(ANSWER)
    assert document.standing() == Span(start, start + len(ANSWER))
    assert document.conversation.told() == {"version": 1, "versions": 1}


@given(LINES, LINES, SHARE, SHARE, st.text("ab", max_size=3))
def test_edits_in_the_answer_are_seen_and_their_undoing_too(before, after, one, other, text):
    document = answered(before, FIRST, after)
    start = len(before)
    low, high = sorted(start + round(share * (len(ANSWER) - 1)) for share in (one, other))
    gone = document.text[low:high]
    document.change(low, high, text)
    assert (document.standing() is None) is (text != gone)
    document.change(low, low + len(text), gone)
    assert document.standing() == Span(start, start + len(ANSWER))


@given(LINES, LINES)
def test_the_first_text_is_known_again_after_an_undo(before, after):
    document = answered(before, FIRST, after)
    document.change(len(before), len(before) + len(ANSWER), FIRST)
    assert document.standing() == Span(len(before), len(before) + len(FIRST))
    assert document.conversation.told() == {"version": 0, "versions": 1}
    assert document.conversation.turns() == ()


@pytest.mark.parametrize(("start", "end"), [(1, 3), (2, 3), (13, 16), (0, 18), (14, 15)])
def test_an_edit_across_an_end_of_the_answer_is_one_in_it(start, end):
    document = answered("a\n", FIRST, "b\n")
    document.change(start, end, "")
    assert document.standing() is None


def test_an_answer_at_the_end_without_a_line_end_is_told_from_one_that_is_longer():
    document = Document("a\n", "x", "")
    document.change(2, 3, "y")
    document.conversation.answered(0, Version("y"))
    document.change(3, 3, "z")
    assert document.standing() is None
    document.change(3, 4, "\nz")
    assert document.standing() == Span(2, 3)
