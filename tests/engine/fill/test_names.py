"""Names that stand nowhere in sight are found, in many languages; what binds one and what the language brings are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import Excerpt, FillRequest, Span
from palimpsest_engine.fill.names import in_sight, strange_names
from palimpsest_engine.syntax.grammars import languages

KNOWN = frozenset({"self", "items", "total", "os", "path", "console"})
CASES = [
    ("python", "    ", "return totl + len(items)", ("totl",)),
    ("python", "    ", "return total.anything(items)", ()),  # what a member may be called, nothing shows
    ("python", "    for ", "x in items: print(x, y)", ("y",)),
    ("python", "    a, b = ", "foo(total), os.walk(top=there)", ("foo", "there")),
    ("python", "    ", "here = [n * 2 for n in items if n]\n    return here + gone", ("gone",)),
    ("python", "    ", "with open(path) as f:\n        data = f.read()\n    return data", ()),
    ("python", "def ", "f(self, a, b=1):\n    return a + c", ("c",)),
    ("python", "    x = to", "tal + tota", ("tota",)),  # the first word goes on before the fill
    ("python", "    x = totl + ", "total", ()),  # what stands before it is not the fill's
    ("python", "    ", 'raise ValueError("no such thing")', ()),
    ("python", "", "import sys", ()),
    ("python", "", "x: Thing = total", ("Thing",)),
    ("javascript", "  const ", "y = items.map(q => q.z + total); console.log(foo)", ("foo",)),
    ("typescript", "  ", "const a: string = bar(items)", ("bar",)),
    ("go", "\t", "x, err := foo(items)", ("foo",)),
    ("rust", "  ", "let mut v = Vec::new(); w.push(items);", ("w",)),
    ("java", "  ", "String s = total.toString() + other;", ("other",)),
    ("ruby", "  ", "@a = items.map { |q| q + z }", ("z",)),
    ("php", "", "$x = $y + count($items);", ("y",)),
    ("json", "", '{"nothing": 1}', ()),
    ("markdown", "", "words of prose", ()),
    (None, "", "who knows", ()),
    ("python", "", "", ()),
]


@pytest.mark.parametrize(("language", "prefix", "fill", "expected"), CASES)
def test_a_name_is_strange_if_it_is_used_and_stands_nowhere(language, prefix, fill, expected):
    assert strange_names(fill, prefix, language, KNOWN) == expected


def test_in_sight_is_what_stands_around_the_hole_and_what_is_shown_of_other_files():
    text = "import os\n\ndef f(rows):\n    \n    return rows\n"
    request = FillRequest(text, (Span(30, 30),), context=(Excerpt("b.py", "def other(a): ..."),))
    assert {"os", "rows", "other"} <= in_sight(request)
    assert "elsewhere" not in in_sight(request)


@given(st.text("ab .,=():[]{}'\"\n\\|$@#", max_size=40), st.sampled_from(languages()))
def test_any_text_can_be_read(fill, language):
    found = strange_names(fill, "  x", language, frozenset())
    assert all(name and not name.isspace() for name in found)
