"""Random changes of documents in six languages: what is offered applies cleanly, overlaps with nothing and breaks nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.request import Span
from palimpsest_engine.syntax.gate import SyntaxGate
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups

TEXTS = {
    "python": """\
@one
class A(B):
    x: int = 1

    async def f(self, a, b=1):
        y = await g(a, k='é')
        y = g(b)
        return {'a': g(a), 'b': g(b)}


def g(a, k=2):
    return A().f(a)


for i in g(1):
    g(i)
    g(i, 2)
""",
    "typescript": """\
@one
export class A {
  f(a: T, b = 1): void {
    await g(a);
    await g(b);
  }
}
const o = { a: g(1), b: g(2), h: async (a: T) => g(a) };
function g(a: number) { return `${a} é`; }
""",
    "go": """\
package a

type P struct {
	X int
	Y int
}

func f(a, b int) error {
	x := g(a)
	y := g(b)
	switch x {
	case 1:
		return h(1, "é")
	case 2:
		return h(2, "b")
	}
	return nil
}
""",
    "rust": """\
#[derive(Debug)]
enum A {
    B { x: u32 },
    C,
}

#[derive(Debug)]
struct P {
    x: f32,
}

fn f(x: A) -> u32 {
    match x {
        A::B { .. } => g(1),
        A::C => g(2),
    }
}
""",
    "java": """\
@One
class A {
  private final int x;
  private final int y;

  A(int x, int y) {
    this.x = x;
    this.y = y;
  }

  A f() {
    return new A(g(1), g(2));
  }
}
""",
    "c": """\
struct s t[] = {
  {"a", 1},
  {"b", 2},
};

int f(int a, int b)
{
  g(a, 1);
  g(b, 1);
  return f(a, b);
}
""",
}
PIECES = (
    *"abgx1,(){}:;=\n",
    "async ",
    "await ",
    "@two\n",
    "g(",
    ", 2",
    "é",
    "  ",
    "return ",
    "'",
    '"',
    "// ",
    "# ",
    "A",
)


@st.composite
def questions(draw: st.DrawFn) -> NextEditQuestion:
    """Make up a document, up to three changes of its lines, and a cursor."""
    language = draw(st.sampled_from(sorted(TEXTS)))
    text = TEXTS[language]
    changes = []
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True)
        first = draw(st.integers(0, len(lines) - 1))
        last = draw(st.integers(first, min(first + 2, len(lines))))
        before = "".join(lines[first:last])
        start = sum(map(len, lines[:first]))
        at = draw(st.integers(0, len(before)))
        end = draw(st.integers(at, min(at + 6, len(before))))
        after = before[:at] + draw(st.sampled_from(PIECES)) + before[end:]
        text = text[:start] + after + text[start + len(before) :]
        changes.insert(0, Change("a", draw(st.sampled_from([start, start, start, None])), before, after))
    other = OpenDocument("b", TEXTS[draw(st.sampled_from(sorted(TEXTS)))], language)
    cursor = draw(st.integers(0, len(text)))
    return NextEditQuestion((OpenDocument("a", text, language), other), tuple(changes), cursor, budget_ms=500)


@settings(max_examples=300, deadline=None)
@given(questions())
def test_edits_apply_cleanly_and_break_nothing(question: NextEditQuestion) -> None:
    found = follow_ups(question)
    documents = {each.name: each for each in question.documents}
    for place in (*found.edits, *found.places):
        assert 0 <= place.span.start <= place.span.end <= len(documents[place.document].text)
    for name, document in documents.items():
        spans = sorted((each.span.start, each.span.end) for each in found.edits if each.document == name)
        assert all(one[1] <= other[0] for one, other in pairwise(spans))
        assert len(set(spans)) == len(spans)
        for edit in (each for each in found.edits if each.document == name):
            assert document.text[edit.span.start : edit.span.end] != edit.text
            gate = SyntaxGate(document.text, (Span(edit.span.start, edit.span.end),), document.language)
            assert gate.judge((edit.text,)).status != "worse"
    assert bool(found.edits) != bool(found.reason)


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_a_change_that_was_taken_back_leads_to_nothing(language: str) -> None:
    text = TEXTS[language]
    line = text.splitlines(keepends=True)[1]
    start = text.index(line)
    other = line.replace("\n", " x\n")
    changes = (Change("a", start, other, line), Change("a", None, line, other))
    found = follow_ups(NextEditQuestion((OpenDocument("a", text, language),), changes, start))
    assert found.reason == "the last change was undone"
    assert not found.places
