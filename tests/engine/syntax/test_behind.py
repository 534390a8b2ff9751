"""The text behind a fill stays as it was: reports of the field, and random places of real code in many languages."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest_engine.request import Span
from palimpsest_engine.syntax.behind import is_word
from palimpsest_engine.syntax.gate import SyntaxGate
from palimpsest_engine.syntax.grammars import language_of

ROOT = Path(__file__).parents[3]
JOINED, COMMENT, TORN = "would become one", "part of a comment", "torn apart"
# (language, text with the cursor, fill, what the reason says; "" for a fill that may stand)
CASES = [
    ("python", "import ¦os\n", "sys", JOINED),
    ("python", "return ¦total\n", "factor", JOINED),
    ("python", "print(¦total)\n", "self", JOINED),
    ("python", "while ¦True:\n    pass\n", "factor", JOINED),
    ("python", "class A(¦Base):\n    pass\n", "Base", JOINED),
    ("python", "¦import os\n", "# Copyr", JOINED),
    ("python", "¦x = os.sep\n", "#", COMMENT),
    ("python", "def f(x):\n    if x:\n   ¦     return 1\n    return 2\n", "     # 1: complex", COMMENT),
    ("python", "a = ¦= 2\n", "b =", JOINED),
    ("python", "print(¦पहला)\n", "x", JOINED),
    ("python", "x = ¦1\n", "2", JOINED),
    ("python", "x = ¦y\nz = ''\n", "'", "syntax error"),
    ("python", "x = ¦y  # a'\n", "'", "part of a string"),
    ("python", "x = ¦(a)\n", "foo", ""),
    ("python", "x = ¦a\n", "b + ", ""),
    ("python", "x = ¦a\n", "-", ""),
    ("python", 'x = f"{¦a}"\n', "b + ", ""),
    ("python", "x = 'a¦b'\n", "c", ""),
    ("python", "# ¦hello\n", "say ", ""),
    ("python", "x = [¦]\n", "1, 2", ""),
    ("python", "x = 1¦\ny = 2\n", "0", ""),
    ("javascript", "const x = ¦y;\n", "foo", JOINED),
    ("javascript", "const x = ¦y;\n", "// ", COMMENT),
    ("javascript", "const x = ¦y;\n", "a || ", ""),
    ("typescript", "let a: ¦number = 1;\n", "string", JOINED),
    ("go", "package a\n\nvar x = ¦y\n", "f", JOINED),
    ("rust", "fn f() -> i32 { ¦value }\n", "x", JOINED),
    ("rust", "fn f() -> i32 { ¦value }\n", "/* ", "syntax error"),
    ("java", "class A { int x = ¦y; }\n", "this", JOINED),
    ("c", "int x = ¦y;\n", "// ", COMMENT),
    ("ruby", "x = ¦y\n", "# ", COMMENT),
    ("ruby", "push(job) if @¦failed[job] < 3\n", "failed:", TORN),
    ("ruby", "x = :¦name\n", "a + :", TORN),
    ("ruby", "puts $¦stdout\n", "a, $", TORN),
    ("php", "<?php\n$¦total = 1;\n", "a = $", ""),  # there the sign is a token of its own
    ("bash", "echo $¦HOME\n", "A $", ""),
    ("sql", "SELECT ¦a FROM b;\n", "-- ", COMMENT),
    ("sql", "SELECT ¦a FROM b;\n", "x", JOINED),
    ("markdown", "¦world of text\n", "hello", JOINED),
    ("markdown", "¦world of text\n", "hello ", ""),
    ("yaml", "a: ¦b c\n", "x ", ""),
    (None, "some ¦text\n", "new", JOINED),  # without a grammar, too
    (None, "some ¦text\n", "new ", ""),
]


def judged(language, text, fill):
    at = text.index("¦")
    return SyntaxGate(text.replace("¦", ""), (Span(at, at),), language).judge((fill,))


@pytest.mark.parametrize(("language", "text", "fill", "says"), CASES)
def test_the_first_token_behind_a_fill_stays_what_it_was(language, text, fill, says):
    verdict = judged(language, text, fill)
    if says:
        assert verdict.status == "worse"
        assert says in verdict.reason
        assert verdict.bad
    else:
        assert verdict.status in ("valid", "not checked")


def test_a_hole_that_ends_within_a_word_may_be_written_over():
    text = "total = first\n"
    gate = SyntaxGate(text, (Span(8, 10),), "python")  # `fi` of `first`
    assert gate.judge(("wo",)).status == "valid"


def test_each_hole_is_looked_behind():
    gate = SyntaxGate("f(a, b)\n", (Span(2, 2), Span(5, 5)), "python")
    assert gate.judge(("x + ", "y + ")).status == "valid"
    verdict = gate.judge(("x + ", "y"))
    assert (verdict.status, verdict.reason) == ("worse", "`y` and `b` would become one word")


ORIGINALS = sorted((ROOT / "fixtures" / "repair" / "originals").rglob("*.*"))
TEXTS = [(language, path.read_text("utf-8")) for path in ORIGINALS if (language := language_of(str(path), None))]


def test_there_are_eight_languages():
    assert len({language for language, _ in TEXTS}) >= 8


@settings(max_examples=150, deadline=None)
@given(
    which=st.integers(0, 10**6),
    at=st.integers(0, 10**6),
    fill=st.sampled_from(["name", "x", "9", "#", "//", "é", "名"]),
)
def test_no_word_before_a_word_at_any_place_of_real_code(which, at, fill):
    """Join no word to the one behind it, whatever else a fill does; and insert nothing without a change."""
    language, text = TEXTS[which % len(TEXTS)]
    draw = random.Random(at)
    place = draw.randrange(len(text))
    gate = SyntaxGate(text, (Span(place, place),), language)
    verdict = gate.judge((fill,))
    inside = is_word(text[place - 1 : place])
    if is_word(fill[-1]) and is_word(text[place : place + 1]) and not inside:
        assert verdict.status == "worse"
    assert gate.judge(("",)).status != "worse"


@pytest.mark.parametrize(
    ("text", "fill", "status"),
    [
        ('"""Doc."""\n¦\nfrom __future__ import annotations\n', "import sys", "worse"),
        ("x = 1\nif x:\n    ¦\n", "return 2", "worse"),
        ("class A:\n    ¦\n    pass\n", "return 1", "worse"),
        ("def f(a, b=1, ¦):\n    pass\n", "b=1", "worse"),
        ("def f():\n    ¦\n", "nonlocal x", "worse"),
        ("x = 1\n¦\n", "break", "worse"),
        ("def f():\n    ¦\n", "await g()", "worse"),
        ("def f():\n    x = 1\n    ¦\n", "global x", "worse"),
        ("x = 1\n¦\n", "await g()", "valid"),  # as a cell of a notebook may
        ("for x in y:\n    ¦\n", "break", "valid"),
        ("if a:\n    b = 1\n¦\n", "else:", "no worse"),  # its body is to come
        ("if a:\n    b = 1\n¦\n", "else:  # not a", "no worse"),
        ("if a:\n    b = 1\n¦# c\nb = 2\n", "else:", "worse"),  # put before something
        ("return 1\n\n\n¦\n", "x = 2", "valid"),  # it was no program before, and not because of this line
        ("\ufeffx = 1\ny = ¦\n", "(1", "worse"),  # a byte order mark hides nothing
        ("\ufeffx = 1\n¦\n", "if x:\nx = 2", "worse"),
        ("\ufeffx = 1\n¦\n", "y = 2", "valid"),
        ("a = 1\r# b\rc = ¦\r", "(2", "worse"),  # a carriage return alone ends a line, and a comment
        ("a = 1\r# b\rc = ¦\r", "2", "valid"),
        ("if a:\r    ¦\r", "return", "worse"),
    ],
)
def test_the_compiler_sees_more_than_the_parser(text, fill, status):
    assert judged("python", text, fill).status == status
