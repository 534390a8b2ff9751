"""Outlines: cases for every language in `fixtures/outline`, and promises for every text.

In the fixtures `⟦⟧` are the expected spans, `‸` are cursors and `⟪⟫` is the span that is asked about.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Node, Parser

from palimpsest_engine.request import FillRequest, Span
from palimpsest_engine.syntax.grammars import languages, load
from palimpsest_engine.syntax.outline import Outline

FIXTURES = Path(__file__).parents[3] / "fixtures" / "outline"
PATIENCE = 60_000.0  # ms: no answer here may depend on how fast the machine is
WIDE = {  # a comment of wide characters to stand before the text
    **dict.fromkeys(languages(), ("//", "")),
    **dict.fromkeys(["bash", "python", "ruby", "toml", "yaml"], ("#", "")),
    **dict.fromkeys(["lua", "sql"], ("--", "")),
    **dict.fromkeys(["html", "markdown", "php"], ("<!--", "-->")),
    "css": ("/*", "*/"),
}


def outline(text: str, language: str, previous: Outline | None = None) -> Outline:
    return Outline(text, language, previous=previous, budget_ms=PATIENCE)


def unmark(marked: str) -> tuple[str, dict[str, list[int]]]:
    """Return the text without its marks, and their places."""
    text, marks = "", {mark: [] for mark in "⟦⟧‸⟪⟫"}
    for piece in re.split("([⟦⟧‸⟪⟫])", marked):
        if piece in marks:
            marks[piece].append(len(text))
        else:
            text += piece
    return text, marks


def spans(marks: dict[str, list[int]], marked: str = "⟦⟧") -> tuple[Span, ...]:
    return tuple(map(Span, marks[marked[0]], marks[marked[1]]))


def rows(table: str) -> list:
    """Return the rows of one table of every language's file: as written, with CRLF, and after wide characters."""
    found = []
    for language in languages():
        for i, row in enumerate(tomllib.loads((FIXTURES / f"{language}.toml").read_text("utf-8")).get(table, [])):
            opening, closing = WIDE[language]
            before = f"{opening} 🜁 e\N{COMBINING ACUTE ACCENT} \N{MUSICAL SYMBOL G CLEF} {closing}\n"
            texts = {"": row["text"], ", CRLF": row["text"].replace("\n", "\r\n"), ", wide": before + row["text"]}
            for variant, text in texts.items():
                name = f"{language}: {row.get('name', i + 1)}{variant}"
                found.append(pytest.param(language, row | {"text": text}, id=name))
    return found


@pytest.mark.parametrize(("language", "row"), rows("case"))
def test_placeholders_imports_and_definitions_are_found(language, row):
    text, marks = unmark(row["text"])
    found = outline(text, language)
    assert found.placeholders() == spans(marks)
    assert list(found.imports()) == row["imports"]
    assert [[each.name, each.signature] for each in found.definitions()] == row["definitions"]
    assert found.reason == ""


@pytest.mark.parametrize(("language", "row"), rows("kind"))
def test_the_kind_at_each_cursor_is_found(language, row):
    text, marks = unmark(row["text"])
    found = outline(text, language)
    shown = [text[at - 8 : at] + "‸" for at in marks["‸"]]
    assert [*zip(shown, map(found.kind_at, marks["‸"]), strict=True)] == [*zip(shown, row["kinds"], strict=True)]


@pytest.mark.parametrize(("language", "row"), rows("body"))
def test_the_body_at_each_cursor_is_found(language, row):
    text, marks = unmark(row["text"])
    found = outline(text, language)
    for at in marks["‸"]:
        assert found.body_at(at) == (spans(marks) or (None,))[0], text[:at] + "‸" + text[at:]


@pytest.mark.parametrize(("language", "row"), rows("defect"))
def test_the_defects_of_a_span_are_found(language, row):
    text, marks = unmark(row["text"])
    (asked,) = spans(marks, "⟪⟫")
    assert outline(text, language).defects(asked) == spans(marks)


@pytest.mark.parametrize("path", ["shapes.pyi", "shapes.d.ts"])
def test_a_file_of_declarations_has_no_placeholders(path):
    text = "def f(x: int) -> int: ...\n" if path.endswith("i") else "function f(): void {}\n"
    assert Outline(text, None, path=path).placeholders() == ()
    assert len(Outline(text, None, path=path).definitions()) == 1


@pytest.mark.parametrize("language", [None, "", "plaintext", "vue"])
def test_an_unknown_language_is_code_without_structure(language):
    found = Outline("def f():\n    ...  # TODO\n", language, path="notes.txt")
    assert answers(found, 20) == ("code", (), None, (), (), ())
    assert found.reason.startswith("there is no grammar for ")


def test_over_budget_is_code_without_structure():
    found = Outline("x = [1, 2, 3]\n" * 2_000 + "# a", "python", budget_ms=0.0)
    assert answers(found, 2) == ("code", (), None, (), (), ())
    assert found.reason == "parsing the python took over 0 ms"


def test_a_text_parses_after_one_that_was_over_budget():
    late = Outline("x = [1, 2, 3]\n" * 6_000, "python", budget_ms=0.0)
    assert late.reason
    assert outline("# a", "python", late).kind_at(3) == "comment"


@pytest.mark.parametrize(("language", "heap"), [("c", "("), ("c", "{"), ("bash", "{"), ("json", "[")])
def test_a_heap_of_brackets_is_not_searched(language, heap):
    found = outline(heap * 30_000, language)
    assert answers(found, 2) == ("code", (), None, (), (), ())
    assert found.reason == "the text is too broken to be searched"


def test_a_missing_wheel_is_code_without_structure(monkeypatch):
    monkeypatch.setitem(sys.modules, "tree_sitter_lua", None)
    load.cache_clear()
    found = Outline("-- a", "lua")
    assert answers(found, 2) == ("code", (), None, (), (), ())
    load.cache_clear()
    assert "the grammar for lua cannot be loaded" in found.reason


def test_a_path_is_as_good_as_a_language():
    assert Outline("# a", None, path="/x/y.py").kind_at(2) == "comment"


def test_unused_outlines_keep_no_chain_of_texts():
    first = outline("x = 1\n", "python")
    assert first.imports() == ()
    last = first
    for i in range(50):
        last = outline(f"x = {i}\n", "python", last)
    assert last._parsed._base[0] == b"x = 1\n"
    assert last.kind_at(0) == "code"
    assert last._parsed._base is None


def test_the_package_imports_neither_tree_sitter_nor_torch():
    code = "import sys, palimpsest_engine as e; e.Outline; print({'tree_sitter', 'torch'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_other_threads_run_while_a_text_is_parsed_and_searched():
    text = "def f(x):\n    return [x, x + 1]\n\n\n" * 8_000
    found = outline(text, "python")
    switches, done = 0, threading.Event()
    worker = threading.Thread(target=lambda: (found.definitions(), done.set()))
    worker.start()
    while not done.is_set():
        time.sleep(0)
        switches += 1
    worker.join()
    assert switches > 3


def answers(found: Outline, at: int) -> tuple[object, ...]:
    everything = Span(0, len(found._parsed.text))
    return (
        found.kind_at(at),
        found.placeholders(),
        found.body_at(at),
        found.defects(everything),
        found.imports(),
        found.definitions(),
    )


def nodes(root: Node) -> list[tuple[object, ...]]:
    """Return the whole tree, with every node's place."""
    found, left = [], [root]
    while left:
        node = left.pop()
        found.append((node.type, node.byte_range, node.start_point, node.end_point))
        left += node.children
    return found


TEXTS = [(p.values[0], unmark(p.values[1]["text"])[0]) for table in ("case", "kind", "body") for p in rows(table)]
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *"(){}[]\"'`,;:=<>#/x1 \t\n\r\x0c\u2028é🜁\ud800",
            "/*",
            "*/",
            "//",
            '"""',
            "TODO",
            "# TODO",
            "pass",
            "...",
            "def f():",
            *["\r\n", "    ", "todo!()", "end", "class A", "e\N{COMBINING ACUTE ACCENT}", "${", "return", "import "],
        ]
    ),
    max_size=10,
).map("".join)


@st.composite
def edits(draw):
    """Draw a language, and a text in it that is edited here and there."""
    language, text = draw(st.sampled_from(TEXTS))
    texts = [text]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        copied = draw(st.integers(0, len(text)))
        new = draw(st.one_of(FRAGMENTS, st.just(text[copied : copied + 40]), st.just("")))
        text = draw(st.sampled_from([text[:start] + new + text[end:], texts[0]]))
        texts.append(text)
    return language, texts


@given(edits())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_an_incremental_parse_is_the_cold_one(example):
    """Broken texts are excepted: their error recovery depends on the earlier texts."""
    language, texts = example
    previous = None
    for text in texts:
        found = outline(text, language, previous)
        cold = Parser(load(language)).parse(text.encode("utf-8", "replace")).root_node
        tree = found._parsed.tree
        assert tree is not None
        assert tree.root_node.end_byte <= len(text.encode("utf-8", "replace"))
        if not cold.has_error:
            assert nodes(tree.root_node) == nodes(cold)
        previous = found


@given(edits(), st.data())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_every_answer_is_well_formed(example, data):
    language, texts = example
    previous = None
    for text in texts:
        found = outline(text, language, previous)
        at = data.draw(st.integers(-2, len(text) + 2))
        ends = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        assert found.kind_at(at) in ("code", "comment", "string")
        holes = found.placeholders()
        if holes:
            FillRequest(text, holes)  # sorted, disjoint, within the text
            assert len(set(holes)) == len(holes)
        body = found.body_at(at)
        assert body is None or body.end <= len(text)
        assert body is None or text[body.start : body.end] == text[body.start : body.end].strip(" \t\r\n\x0c")
        last = ends[0]
        for defect in found.defects(Span(*ends)):
            assert last <= defect.start < defect.end <= ends[1]
            last = defect.end
        starts = [each.span.start for each in found.definitions()]
        assert starts == sorted(starts)
        for each in found.definitions():
            assert each.span.end <= len(text)
        assert len({*found.imports()}) == len(found.imports())
        assert all(found.imports())
        assert found.reason == ""
        previous = found


@given(st.sampled_from(languages()), FRAGMENTS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_clean_text_has_no_defects(language, text):
    broken = Parser(load(language)).parse(text.encode("utf-8", "replace")).root_node.has_error
    assert broken or outline(text, language).defects(Span(0, len(text))) == ()
