"""The syntax gate: cases for every language in `fixtures/syntax`, and promises for every text."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Node, Parser

from palimpsest_engine.request import FillRequest, Span
from palimpsest_engine.syntax import gate
from palimpsest_engine.syntax.gate import SyntaxGate
from palimpsest_engine.syntax.grammars import languages, load
from palimpsest_engine.syntax.python_parser import LONGEST, PythonError, error_of, with_body

FIXTURES = Path(__file__).parents[3] / "fixtures" / "syntax"
PATIENCE = 60_000.0  # ms: no verdict here may depend on how fast the machine is


@dataclass(frozen=True)
class Case:
    language: str
    name: str
    text: str
    holes: tuple[Span, ...]
    fills: tuple[str, ...]
    status: str
    bad: list[str] | None
    cut: tuple[str, ...] | None  # all empty: nothing survives

    @property
    def gate(self) -> SyntaxGate:
        return SyntaxGate(self.text, self.holes, self.language, PATIENCE)


def unmark(marked: str) -> tuple[str, tuple[Span, ...]]:
    """Return the text without the marks of its holes, and the holes."""
    text, holes = "", []
    for i, piece in enumerate(re.split("[⟦⟧]", marked)):
        if i % 2:
            holes.append(Span(len(text), len(text) + len(piece)))
        text += piece
    return text, tuple(holes)


def cases(language: str) -> list[Case]:
    found = []
    for row in tomllib.loads((FIXTURES / f"{language}.toml").read_text("utf-8"))["case"]:
        text, holes = unmark(row.pop("text"))
        fills = row.pop("fills", None) or [row.pop("fill")]
        cut = row.pop("cut", None)
        cut = (cut,) if isinstance(cut, str) else cut and tuple(cut)
        name, status, bad = row.pop("name"), row.pop("status"), row.pop("bad", None)
        assert not row, f"{language}: {name}: what is {row}?"
        found.append(Case(language, name, text, holes, tuple(fills), status, bad, cut))
    return found


CASES = [case for language in languages() for case in cases(language)]
IDS = [f"{case.language}: {case.name}" for case in CASES]


def splice(text: str, holes: tuple[Span, ...], fills: tuple[str, ...]) -> str:
    return FillRequest(text, holes).splice(fills)


def filled(holes: tuple[Span, ...], fills: tuple[str, ...]) -> list[Span]:
    """Return the places of the fills in the spliced document."""
    spans, moved = [], 0
    for hole, fill in zip(holes, fills, strict=True):
        spans.append(Span(hole.start + moved, hole.start + moved + len(fill)))
        moved += len(fill) - (hole.end - hole.start)
    return spans


def check_promises(gate: SyntaxGate, text: str, holes: tuple[Span, ...], fills: tuple[str, ...]) -> None:
    """Check the promises of every verdict and every cut."""
    verdict = gate.judge(fills)
    assert verdict.status != "not checked"
    assert verdict.status == "no worse" or (verdict.status == "worse") == bool(verdict.bad) == bool(verdict.reason)
    assert verdict.reason or not verdict.bad
    spans = filled(holes, fills)
    for bad in verdict.bad:
        home = [span for span in spans if span.start <= bad.start and bad.end <= span.end]
        assert home, f"{bad} is in none of {spans}"
        assert bad.start < bad.end or any(span.start == span.end for span in home)
    cut = gate.cut(fills)
    if cut is None:
        assert verdict.status == "worse" or not any(fill.strip() for fill in fills)
        return
    assert gate.judge(cut).status in ("valid", "no worse")
    for short, fill in zip(cut, fills, strict=True):
        rest = fill.removeprefix(short)
        assert fill == short + rest
        assert not short or not rest or short[-1] in "\r\n" or rest[0] in "\r\n", "cut inside a line"
    if verdict.status != "worse":
        assert cut == fills


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_each_case_has_its_verdict_bad_spans_and_cut(case):
    verdict = case.gate.judge(case.fills)
    assert verdict.status == case.status, verdict
    if case.bad is not None:
        document = splice(case.text, case.holes, case.fills)
        assert [document[span.start : span.end] for span in verdict.bad] == case.bad
    if case.cut is not None:
        assert case.gate.cut(case.fills) == (case.cut if any(case.cut) else None)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_promises_hold_for_the_case(case):
    check_promises(case.gate, case.text, case.holes, case.fills)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_present_text_of_a_hole_is_never_worse(case):
    own = tuple(case.text[hole.start : hole.end] for hole in case.holes)
    assert case.gate.judge(own).status in ("valid", "no worse")


COMMENTS = {
    **dict.fromkeys(languages(), ("//", "")),
    **dict.fromkeys(["bash", "python", "ruby", "toml", "yaml"], ("#", "")),
    **dict.fromkeys(["lua", "sql"], ("--", "")),
    **dict.fromkeys(["html", "markdown"], ("<!--", "-->")),
    "css": ("/*", "*/"),
    "php": ("<!--", "-->"),
}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_wide_characters_before_the_holes_change_nothing_but_offsets(case):
    opening, closing = COMMENTS[case.language]
    before = f"{opening} 🜁 e\N{COMBINING ACUTE ACCENT} \N{MUSICAL SYMBOL G CLEF} {closing}\n"
    moved = tuple(Span(hole.start + len(before), hole.end + len(before)) for hole in case.holes)
    plain = case.gate.judge(case.fills)
    wide = SyntaxGate(before + case.text, moved, case.language, PATIENCE).judge(case.fills)
    assert wide.status == plain.status
    assert wide.bad == tuple(Span(bad.start + len(before), bad.end + len(before)) for bad in plain.bad)


CRLF = ["c", "csharp", "css", "html", "java", "javascript", "json", "python", "rust", "typescript"]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.language in CRLF], ids=[i for i in IDS if i.split(":")[0] in CRLF]
)
def test_crlf_gives_the_same_verdict_and_cut(case):
    def crlf(text: str) -> str:
        return text.replace("\n", "\r\n")

    holes = tuple(Span(len(crlf(case.text[: hole.start])), len(crlf(case.text[: hole.end]))) for hole in case.holes)
    fills = tuple(map(crlf, case.fills))
    gate = SyntaxGate(crlf(case.text), holes, case.language, PATIENCE)
    assert gate.judge(fills).status == case.status
    check_promises(gate, crlf(case.text), holes, fills)
    if case.cut is not None:
        assert gate.cut(fills) == (tuple(map(crlf, case.cut)) if any(case.cut) else None)


def nodes(root: Node) -> list[tuple[object, ...]]:
    """Return the whole tree, with every node's place."""
    found, left = [], [root]
    while left:
        node = left.pop()
        found.append((node.type, node.byte_range, node.start_point, node.end_point))
        left += node.children
    return found


VALID = [case for case in CASES if case.status == "valid"]


@pytest.mark.parametrize("case", VALID, ids=[f"{case.language}: {case.name}" for case in VALID])
def test_an_incremental_parse_is_the_cold_one(case):
    gate = case.gate
    gate.judge(case.fills)
    document = splice(case.text, case.holes, case.fills).encode()
    grown = gate._reparse(gate._text.splice(case.fills)).root_node
    assert nodes(grown) == nodes(Parser(load(case.language)).parse(document).root_node)


def has_error(text: str, language: str) -> bool:
    text = re.sub(r"\r(?!\n)", "\n", text)  # a carriage return ends a line, too
    return Parser(load(language)).parse(text.encode("utf-8", "replace")).root_node.has_error


def is_clean(text: str, language: str) -> bool:
    """Return whether tree-sitter finds no error, and in Python its own parser neither."""
    return not has_error(text, language) and (language != "python" or error_of(text) is None)


def clean_text(language: str, size: int) -> str:
    """Repeat the language's valid cases, one below the other; return "" if that makes no clean document."""
    whole = [
        splice(case.text, case.holes, case.fills)
        for case in CASES
        if (case.language, case.status) == (language, "valid")
    ]
    lines = "".join(text.rstrip("\n") + "\n" for text in whole if is_clean(text, language))
    text = lines * (size // max(1, len(lines)) + 1)
    return text if is_clean(text, language) else ""


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_comparing_only_the_surroundings_of_a_large_document_gives_the_same_verdict(case, monkeypatch):
    around = clean_text(case.language, 4_000)
    text = around + case.text.rstrip("\n") + "\n" + around
    holes = tuple(Span(hole.start + len(around), hole.end + len(around)) for hole in case.holes)
    whole = SyntaxGate(text, holes, case.language, PATIENCE)
    expected = whole.judge(case.fills)
    monkeypatch.setattr(gate, "_LARGE", 2_000)
    monkeypatch.setattr(gate, "_NEAR", 300)
    near = SyntaxGate(text, holes, case.language, PATIENCE)
    verdict = near.judge(case.fills)
    assert (verdict.status, verdict.reason, bool(verdict.bad)) == (expected.status, expected.reason, bool(expected.bad))
    assert near.cut(case.fills) == whole.cut(case.fills)
    check_promises(near, text, holes, case.fills)


LARGE = "".join(f"def f{i}(x):\n    return x + {i}\n\n\n" for i in range(4_000))


def test_a_worse_fill_in_a_large_document_parses_only_its_surroundings_again(monkeypatch):
    at, parsed, parse = LARGE.index("return x + 2000"), [], SyntaxGate._parse
    monkeypatch.setattr(
        SyntaxGate, "_parse", lambda self, data, old=None: (old or parsed.append(len(data)), parse(self, data, old))[1]
    )
    gate = SyntaxGate(LARGE, (Span(at, at + 8),), "python", PATIENCE)
    for fill in ("return (", "return [", "return )"):
        verdict = gate.judge((fill,))
        assert (verdict.status, verdict.reason) == ("worse", "syntax error near line 8002")
        assert all(at <= bad.start < bad.end <= at + len(fill) for bad in verdict.bad)
    assert parsed[0] == len(LARGE)
    assert max(parsed[1:]) < 20_000
    assert gate.judge(("return x",)).status == "valid"


def test_a_defect_far_away_is_not_counted():
    broken = LARGE + "x = )\n"
    at = broken.index("return x + 2000")
    gate = SyntaxGate(broken, (Span(at, at + 8),), "python", PATIENCE)
    assert gate.judge(("return (",)).status == "worse"
    assert gate.judge(("return x",)).status == "no worse"
    assert 0 < gate._far[0] < at
    assert gate._far[1] > 60_000


@pytest.mark.parametrize("language", ["python", "javascript", "c", "rust", "go", "json", "html"])
@pytest.mark.parametrize("defect", ["(", "{", "}", '"', '"""', "<div>"])
@pytest.mark.parametrize("fill", ["", ")", "x", "{"])
def test_with_a_defect_far_above_the_verdict_is_the_same(language, defect, fill, monkeypatch):
    around = clean_text(language, 6_000)
    at, place = len(around) // 2 + around[len(around) // 2 :].index("\n"), len(around) // 20
    text, hole = around[:place] + defect + around[place:], Span(at + len(defect), at + len(defect))
    expected = SyntaxGate(text, (hole,), language, PATIENCE).judge((fill,))
    monkeypatch.setattr(gate, "_LARGE", 2_000)
    monkeypatch.setattr(gate, "_NEAR", 300)
    assert SyntaxGate(text, (hole,), language, PATIENCE).judge((fill,)).status == expected.status


FRAGMENT = st.sampled_from(
    [
        *[
            "(",
            ")",
            "{",
            "}",
            "[",
            "]",
            '"',
            "'",
            ",",
            ";",
            ":",
            "=",
            "<",
            ">",
            "/*",
            "#",
            "x",
            "1",
            "return",
            "if",
        ],
        *[" ", "    ", "\t", "\n", "\r\n", "\r", "\x0c", "\u2028"],
        *["é", "e\N{COMBINING ACUTE ACCENT}", "🜁", "\ud800"],
    ]
)
FRAGMENTS = st.lists(FRAGMENT, max_size=12).map("".join)


@st.composite
def edited(draw):
    """Draw a case's document with holes anywhere and any fills: pieces of the document and fragments."""
    case = draw(st.sampled_from(CASES))
    text = draw(st.sampled_from([case.text, case.text.rstrip("\n"), case.text.replace("\n", "\r\n")]))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(FRAGMENTS) + text[at:]
    ends = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=6).filter(lambda x: len(x) % 2 == 0)))
    holes = tuple(Span(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True))
    copied = st.tuples(st.integers(0, len(text)), st.integers(0, 80)).map(lambda at: text[at[0] : sum(at)])
    fills = tuple(
        draw(
            st.one_of(
                FRAGMENTS,
                copied,
                st.just(text[hole.start : hole.end]),
                st.tuples(copied, FRAGMENTS).map("".join),
            )
        )
        for hole in holes
    )
    return case.language, text, holes, fills


@given(edited())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_promises_hold_for_any_text(example):
    language, text, holes, fills = example
    gate = SyntaxGate(text, holes, language, PATIENCE)
    check_promises(gate, text, holes, fills)
    own = tuple(text[hole.start : hole.end] for hole in holes)
    assert gate.judge(own).status in ("valid", "no worse")
    verdict, broken = gate.judge(fills), has_error(splice(text, holes, fills), language)
    assert verdict.status != "valid" or not broken
    assert verdict.status == "valid" or broken or language == "python" or "would become" in verdict.reason


@given(edited())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_verdict_does_not_depend_on_earlier_ones(example):
    language, text, holes, fills = example
    used = SyntaxGate(text, holes, language, PATIENCE)
    used.judge(("",) * len(holes))
    used.cut(tuple(fill + "\n)" for fill in fills))
    assert used.judge(fills) == SyntaxGate(text, holes, language, PATIENCE).judge(fills)


@given(edited())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_clean_document_stays_clean(example):
    language, text, holes, fills = example
    if is_clean(text, language):
        verdict = SyntaxGate(text, holes, language, PATIENCE).judge(fills)
        spliced, status = splice(text, holes, fills), verdict.status
        compiles = language != "python" or error_of(spliced, [(1, spliced.count("\n") + 1)]) is None
        if "would become" not in verdict.reason and compiles:
            assert (status == "valid") == is_clean(spliced, language)
        assert status in ("valid", "worse") or not has_error(spliced, language)


@pytest.mark.parametrize(
    ("marked", "fills", "status"),
    [
        ("⟦⟧", ("",), "valid"),
        ("⟦⟧", ("x = 1",), "valid"),
        ("⟦⟧", ("x = (",), "worse"),
        ("⟦⟧x = 1", ("import os\n",), "valid"),
        ("x = 1⟦⟧", (" + 2",), "valid"),
        ("x = 1⟦⟧", (" +",), "worse"),
        ("⟦x = 1⟧", ("",), "valid"),
        ("f(⟦1)⟧", ("",), "worse"),
        ("⟦⟧⟦⟧", ("x = (", "1)"), "valid"),
    ],
)
def test_holes_at_the_edges_of_a_text_are_judged(marked, fills, status):
    text, holes = unmark(marked)
    gate = SyntaxGate(text, holes, "python", PATIENCE)
    assert gate.judge(fills).status == status
    check_promises(gate, text, holes, fills)


def test_a_harmful_empty_fill_has_an_empty_bad_span():
    text, holes = unmark("f(⟦1)⟧\n")
    assert SyntaxGate(text, holes, "python", PATIENCE).judge(("",)).bad == (Span(2, 2),)


def test_an_erroneous_region_may_grow_with_the_fill():
    text, holes = unmark("x = (((\n⟦a b⟧\n")
    gate = SyntaxGate(text, holes, "python", PATIENCE)
    assert gate.judge(("a b",)).status == "no worse"
    assert gate.judge(("a_much_longer_name b",)).status == "no worse"


def test_text_under_an_error_in_an_error_counts_once():
    text, holes = unmark('{"p⟦⟧ort": }\n"')
    assert SyntaxGate(text, holes, "json", PATIENCE).judge(('"',)).status == "no worse"


def test_the_line_of_the_damage_is_named():
    text, holes = unmark("a = 1\nb = 2\nc = ⟦⟧\n")
    assert SyntaxGate(text, holes, "python", PATIENCE).judge(("[3",)).reason == "syntax error near line 3"


def test_a_cut_keeps_the_line_end_only_if_the_fill_has_one():
    text, holes = unmark("⟦⟧\nz = 3\n")
    gate = SyntaxGate(text, holes, "python", PATIENCE)
    assert gate.cut(("x = 1\r\ny = 2\r\n)",)) == ("x = 1\r\ny = 2",)
    assert gate.cut(("x = 1\ny = 2\n)\n",)) == ("x = 1\ny = 2\n",)


@pytest.mark.parametrize("language", [None, "", "plaintext", "vue"])
def test_a_language_without_a_grammar_is_not_checked(language):
    gate = SyntaxGate("x", (Span(0, 1),), language)
    verdict = gate.judge((")",))
    assert (verdict.status, verdict.bad) == ("not checked", ())
    assert verdict.reason.startswith("there is no grammar for ")
    assert gate.cut((")",)) is None


def test_a_language_id_is_as_good_as_a_canonical_name():
    assert SyntaxGate("", (Span(0, 0),), "typescriptreact", PATIENCE).judge(("<a/>;",)).status == "valid"


@pytest.mark.parametrize("broken", ["", ")"])
def test_over_budget_is_not_checked(broken):
    text = "x = [1, 2, 3]\n" * 2_000 + broken
    verdict = SyntaxGate(text, (Span(0, 0),), "python", budget_ms=0.0).judge(("y = 1\n",))
    assert (verdict.status, verdict.bad) == ("not checked", ())
    assert verdict.reason == "parsing the python took over 0 ms"


def test_a_gate_that_was_over_budget_can_be_asked_again(monkeypatch):
    gate = SyntaxGate("x = 1\n", (Span(0, 0),), "python", PATIENCE)
    assert gate.judge(("",)).status == "valid"
    with monkeypatch.context() as hurry:
        hurry.setattr(gate, "_budget", 0.0)
        assert gate.judge(("y = 1\n" * 2_000,)).status == "not checked"
    assert gate.judge(("y = (\n",)).status == "worse"
    assert gate.judge(("y = 1\n",)).status == "valid"


def test_a_missing_wheel_is_not_checked(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tree_sitter_lua", None)
    load.cache_clear()
    verdict = SyntaxGate("", (Span(0, 0),), "lua", PATIENCE).judge(("x",))
    load.cache_clear()
    assert verdict.status == "not checked"
    assert "the grammar for lua cannot be loaded" in verdict.reason


@pytest.mark.parametrize("holes", [(), (Span(2, 3), Span(0, 1)), (Span(0, 2), Span(1, 3)), (Span(0, 99),)], ids=str)
def test_wrong_holes_are_refused(holes):
    with pytest.raises(ValueError, match="holes"):
        SyntaxGate("x = 1", holes, "python")


def test_a_wrong_number_of_texts_is_refused():
    with pytest.raises(ValueError, match="1 holes, but 2 texts"):
        SyntaxGate("x = 1", (Span(0, 0),), "python").judge(("", ""))


@given(st.text(st.sampled_from("ab:=()\n\t \\\"'0é\x00#@"), max_size=60))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_pythons_parser_never_raises(text):
    assert error_of(text) is None or error_of(text).line >= 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\n", None),
        ("x =\n", PythonError(1, "invalid syntax")),
        ("'\\d'\n", None),
        ("(" * 5000 + ")" * 5000, None),
        ("x =\n" + "#" * LONGEST, None),
    ],
)
def test_pythons_parser_returns_the_first_error(source, says):
    said = error_of(source)
    assert said == says or (said is not None and source.startswith("(("))


@pytest.mark.parametrize("header", ["if x:", "try:", "for x in y:", "class A:", "    else:", "\ttry:"])
def test_with_body_completes_a_header_without_body(header):
    indent = header[: len(header) - len(header.lstrip())]
    before = f"if y:\n{indent}pass\n" if indent else ""
    before += f"{indent}if z:\n{indent}  pass\n" if "else" in header else ""
    source = f"{before}{header}\n"
    assert error_of(source).body_missing
    assert error_of(with_body(source, source.count("\n"))) is None


@pytest.mark.parametrize("hole", ["yield x", "input = sys.stdin", "pass", "..."])
@pytest.mark.parametrize("fill", ["try:", "if a:", "for x in y:"])
def test_a_header_without_its_body_over_something_is_worse_and_at_a_cursor_is_not(hole, fill):
    head, tail = "def f(x):\n    ", "\n\n\nf(1)\n"
    over = SyntaxGate(head + hole + tail, (Span(len(head), len(head) + len(hole)),), "python").judge((fill,))
    assert over.status == "worse"
    assert SyntaxGate(head + tail, (Span(len(head), len(head)),), "python").judge((fill,)).status == "no worse"
