"""The place of a conversation is followed through any edits around it, and an answer that was edited stays one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import Span, Turn
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
def test_an_answer_that_was_edited_is_the_answer_and_so_is_what_an_undo_brings_back(before, after, one, other, text):
    document = answered(before, FIRST, after)
    start = len(before)
    low, high = sorted(start + round(share * (len(ANSWER) - 1)) for share in (one, other))
    gone = document.text[low:high]
    document.change(low, high, text)
    edited = ANSWER[: low - start] + text + ANSWER[high - start :]
    if edited.strip():
        assert document.standing() == Span(start, start + len(edited))
        assert document.conversation.turns() == (Turn("say", edited, FIRST),)
    else:
        assert document.standing() is None
    document.change(low, low + len(text), gone)
    assert document.standing() == Span(start, start + len(ANSWER))
    assert document.conversation.turns() == (Turn("say", ANSWER, FIRST),)
    assert document.conversation.told() == {"version": 1, "versions": 1}


@given(LINES, LINES)
def test_the_first_text_is_known_again_after_an_undo(before, after):
    document = answered(before, FIRST, after)
    document.change(len(before), len(before) + len(ANSWER), FIRST)
    assert document.standing() == Span(len(before), len(before) + len(FIRST))
    assert document.conversation.told() == {"version": 0, "versions": 1}
    assert document.conversation.turns() == ()


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [(2, 3, "the answer>\n"), (13, 16, "<the answer"), (1, 3, None), (0, 18, None), (2, 15, None), (14, 15, None)],
)
def test_an_edit_across_an_end_of_the_answer_leaves_one_if_it_leaves_whole_lines(start, end, left):
    document = answered("a\n", FIRST, "b\n")
    document.change(start, end, "")
    span = document.standing()
    assert (span and document.text[span.start : span.end]) == left


@pytest.mark.parametrize(("typed", "end"), [("z", 4), ("\nz", 3)])
def test_an_answer_at_the_end_without_a_line_end_is_told_from_one_that_is_longer(typed, end):
    document = Document("a\n", "x", "")
    document.change(2, 3, "y")
    document.conversation.answered(0, Version("y"))
    document.change(3, 3, typed)
    assert document.standing() == Span(2, end)


def test_the_first_text_is_no_answer_when_it_is_edited():
    document = answered("", FIRST, "")
    document.change(0, len(ANSWER), FIRST)
    assert document.standing()
    document.change(0, 3, "one")
    assert document.standing() is None
