"""Tidied fills: data cases, properties, and middles of real code, which must come back unchanged."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from palimpsest_engine import tidy as package_level
from palimpsest_engine.fill.tidy import tidy

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "fixtures" / "tidy"
CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in sorted(FIXTURES.glob("*.toml"))
    for case in tomllib.loads(file.read_text("utf-8")).get("case", ())
]
SNIPPETS = {row["name"]: row["text"] for row in tomllib.loads((FIXTURES / "good.toml").read_text("utf-8"))["snippet"]}


def at(text: str) -> tuple[str, int, int]:
    """Return a text without the marks of its hole, and the hole."""
    before, rest = text.split("⟦")
    hole, after = rest.split("⟧")
    return before + hole + after, len(before), len(before + hole)


def test_the_package_exports_tidy():
    assert package_level is tidy


@pytest.mark.parametrize("case", CASES)
def test_each_case_is_tidied_as_written(case):
    text, start, end = at(case["text"])
    multiline = case.get("multiline", True)
    assert tidy(text, start, end, case["fill"], multiline=multiline) == case["tidy"]
    assert tidy(text, start, end, case["tidy"], multiline=multiline) == case["tidy"]


@pytest.mark.parametrize("case", CASES)
def test_each_case_gives_the_same_with_crlf(case):
    text, start, end = at(case["text"].replace("\r\n", "\n").replace("\n", "\r\n"))
    assert tidy(text, start, end, case["fill"], multiline=case.get("multiline", True)) == case["tidy"]


# Properties

PIECES = st.sampled_from(
    [
        *"()[]{}\"'`:;,.=\\#/*",
        "\n",
        "\n",
        "\n    ",
        "\n\t",
        "    ",
        "\t",
        " ",
        "if a:",
        "else:",
        "x",
        "y1",
        "return x",
        "<",
        ">",
        "<b>",
        "</b>",
        '"""',
        "\r\n",
        "é",
    ]
)
TEXTS = st.lists(PIECES, max_size=24).map("".join)


@given(TEXTS, TEXTS, TEXTS, TEXTS, st.booleans())
@example("f(", "", ")", "x)", True)
@example("\t", "", "\n\ta", "    x\n        y", True)
def test_a_tidied_fill_has_no_new_text_no_more_lines_and_stays_the_same(before, hole, after, fill, multiline):
    text, start, end = before + hole + after, len(before), len(before + hole)
    got = tidy(text, start, end, fill, multiline=multiline)
    plain = fill.replace("\r\n", "\n").replace("\r", "\n")
    margins = hole.replace("\r\n", "\n").count("\n")
    assert "\r" not in got
    assert got.count("\n") <= plain.count("\n") + margins
    assert tidy(text, start, end, got, multiline=multiline) == got
    assert not tidy(text, start, end, "", multiline=multiline)
    if not multiline and not margins:
        assert "\n" not in got
    if not hole:
        assert got == "" or got.strip()
        assert "".join(got.split()) in "".join(plain.split())  # nothing is written that the model did not write


BALANCED = st.recursive(
    st.sampled_from(["x", "y, ", "1 + ", '")"', "\n", " "]),
    lambda inner: st.builds(
        lambda pair, parts: pair[0] + "".join(parts) + pair[1],
        st.sampled_from(["()", "[]", "{}"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


def unopened(text: str) -> int:
    """Count the closing brackets of a text, outside strings, that close nothing."""
    stack: list[str] = []
    alone = 0
    for each in re.sub(r'"[^"\n]*"', "", text):
        if each in "([{":
            stack.append(each)
        elif each in ")]}":
            if stack and stack[-1] + each in ("()", "[]", "{}"):
                stack.pop()
            else:
                alone += 1
    return alone


@given(st.lists(BALANCED, max_size=4).map("".join), st.data())
def test_a_balanced_text_gets_no_closing_bracket_too_many(text, data):
    cursor = data.draw(st.integers(0, len(text)))
    fill = data.draw(st.lists(st.sampled_from([*"()[]{}", "x", ", ", "\n", '"("']), max_size=8).map("".join))
    multiline = data.draw(st.booleans())
    got = tidy(text, cursor, cursor, fill, multiline=multiline)
    allowed = [fill] if multiline else [fill, fill.partition("\n")[0]]  # a line that ends the fill may part a pair
    most = max(unopened(text[:cursor] + each + text[cursor:]) for each in allowed)
    assert unopened(text[:cursor] + got + text[cursor:]) <= most


@given(st.sampled_from(["go", "javascript", "rust"]), st.integers(0, 3000))
def test_a_closing_bracket_after_auto_pairing_is_dropped(name, place):
    opened = [match.end() for match in re.finditer(r"\(\)|\[\]", SNIPPETS[name])]
    cursor = opened[place % len(opened)] - 1
    text = SNIPPETS[name]
    assert tidy(text, cursor, cursor, "more" + text[cursor], multiline=True) == "more"


@pytest.mark.parametrize(
    "bracket", [")", "(", ">", "x<", "<b>", "</b>", '<b "', "()", '"', "'", "\n", "    \n", "a\n", "if a:\n", "}\n{"]
)
def test_long_fills_take_no_quadratic_time(bracket):
    """Quadratic work over 20,000 pieces would take minutes."""
    text = "f(" * 5_000 + ")" * 5_000
    assert len(tidy(text, 10_000, 10_000, bracket * 20_000, multiline=True)) <= len(bracket) * 20_000


# Good fills


def holes(text: str, draw: random.Random, number: int) -> Iterator[tuple[str, int, int]]:
    """Yield places of usual fills: line ends, spans within a line, lines, blocks."""
    lines = [(match.start(), match[0]) for match in re.finditer(r"[^\n]+", text) if match[0].strip()]
    for _ in range(number):
        i = draw.randrange(len(lines))
        start, line = lines[i]
        indent = len(line) - len(line.lstrip())
        words = [match.span() for match in re.finditer(r"\w+|[^\w\s]", line)]
        first = draw.randrange(len(words))
        last = min(first + draw.randrange(6), len(words) - 1)
        kind = draw.choice(("line end", "span", "line", "block", "lines"))
        if kind == "line end":
            yield kind, start + words[first][0], start + len(line)
        elif kind == "span" and words[last][1] < words[-1][1]:
            yield kind, start + words[first][0], start + words[last][1]
        elif kind == "line":
            yield kind, start + indent, start + len(line)
        elif kind == "block":
            end = start + len(line)
            for below, more in lines[i + 1 : i + 1 + draw.randrange(9)]:
                if len(more) - len(more.lstrip()) < indent:
                    break
                end = below + len(more)
            yield kind, start + indent, end
        elif kind == "lines":
            below, more = lines[min(i + draw.randrange(6), len(lines) - 1)]
            end = below + len(more)
            yield kind, start, end + (text[end : end + 1] == "\n")


def in_a_word(text: str, start: int, end: int) -> bool:
    """Return whether the two sides of the hole would be one word without it: users request no fill there."""
    return bool(re.fullmatch(r"\w\w", text[max(0, start - 1) : start] + text[end : end + 1]))


def changed(text: str, draw: random.Random, number: int) -> tuple[int, list[str]]:
    """Tidy middles of a text at their own place; return their number, and those that did not come back unchanged."""
    tried, lost = 0, []
    for kind, start, end in holes(text, draw, number):
        middle = text[start:end]
        if kind == "lines":
            got = tidy(text, start, end, middle, multiline=True)
        elif in_a_word(text, start, end):
            continue
        else:
            got = tidy(text[:start] + text[end:], start, start, middle, multiline=True)
        tried += 1
        if got != middle:
            lost.append(f"{kind}: {text[max(0, start - 80) : start]}⟦{middle}⟧{text[end : end + 80]}\n--> {got!r}")
    return tried, lost


def test_python_middles_come_back_unchanged():
    """The code is this repository's own. Only a line that is there twice in a row may be lost."""
    tried, lost = 0, []
    files = [
        path for pattern in ("fixtures/demo/*.py", "engine/**/*.py", "server/**/*.py") for path in ROOT.glob(pattern)
    ]
    for path in sorted(files):
        one, other = changed(path.read_text("utf-8"), random.Random(path.name), 30)
        tried += one
        lost += other
    assert tried > 1500
    assert len(lost) <= tried * 0.003, "\n\n".join(lost)


@pytest.mark.parametrize("name", sorted(SNIPPETS))
def test_middles_of_other_languages_come_back_unchanged(name):
    tried, lost = changed(SNIPPETS[name], random.Random(name), 400)
    assert tried > 300
    assert not lost, "\n\n".join(lost)


@pytest.mark.parametrize("multiline", [True, False])
@pytest.mark.parametrize("name", sorted(SNIPPETS))
def test_whole_lines_come_back_unchanged(name, multiline):
    text = SNIPPETS[name]
    for match in re.finditer(r"(?m)^[ \t]*(\S.*)$", text):
        start, end = match.span(1)
        got = tidy(text[:start] + text[end:], start, start, text[start:end], multiline=multiline)
        assert got == text[start:end]
