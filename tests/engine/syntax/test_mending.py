"""Repairs without a model: 200 damaged texts, what is no mistake, and what somebody else's repair may change."""

import importlib.util
import json
import re
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Parser

from palimpsest_engine import FillRequest, Span
from palimpsest_engine.syntax.complaints import Complaints
from palimpsest_engine.syntax.grammars import load
from palimpsest_engine.syntax.mending import Mender

REPAIR = Path(__file__).parents[3] / "fixtures" / "repair"
CASES = [json.loads(line) for line in (REPAIR / "cases.jsonl").read_text("utf-8").splitlines()]
NOTEBOOK = "/w/a.ipynb"


def mended(text, language, path=None, within=None):
    """Return the text with its mend, or None."""
    mend = Mender(text, language, path).mend(within or Span(0, len(text)))
    return None if mend is None else text[: mend.span.start] + mend.text + text[mend.span.end :]


def words(text):
    return re.findall(r"[^\W\d]\w*", text)


def statements(text, language):
    """Count the nodes of a tree that are statements, declarations or definitions."""
    nodes, count = [Parser(load(language)).parse(text.encode()).root_node], 0
    while nodes:
        node = nodes.pop()
        count += bool(re.search(r"(statement|declaration|definition|_item|method)\Z", node.type)) and node.is_named
        nodes += node.children
    return count


# Damaged texts


@pytest.fixture(scope="module")
def outcomes():
    """Return (case, mended text or None, milliseconds of the processor) of all cases."""
    found = []
    for case in CASES:
        begun = time.process_time()
        text = mended(case["damaged"], case["language"])
        found.append((case, text, 1000 * (time.process_time() - begun)))
    return found


def table(outcomes, key):
    """Return the lines of a table: how many texts are as they were, repaired otherwise, and left."""
    counts = defaultdict(Counter)
    for case, text, _ in outcomes:
        counts[case[key]]["left" if text is None else "exact" if text == case["original"] else "otherwise"] += 1
    return [
        f"{name:20} {sum(of.values()):4} {of['exact']:6} {of['otherwise']:10} {of['left']:5}"
        for name, of in sorted(counts.items())
    ]


def test_most_damaged_texts_are_as_they_were(outcomes):
    print(f"\n{'':20} cases  exact otherwise  left", *table(outcomes, "language"), *table(outcomes, "kind"), sep="\n")
    print(f"median {median(ms for *_, ms in outcomes):.1f} ms, at most {max(ms for *_, ms in outcomes):.1f} ms")
    assert len(outcomes) == 200
    assert len({case["language"] for case, *_ in outcomes}) == 8
    assert sum(text == case["original"] for case, text, _ in outcomes) >= 0.9 * len(outcomes)


def test_no_repair_changes_other_names(outcomes):
    for case, text, _ in outcomes:
        if text is not None:
            assert words(text) in (words(case["damaged"]), words(case["original"])), text


def test_no_repair_loses_a_statement(outcomes):
    for case, text, _ in outcomes:
        if text is not None:
            language = case["language"]
            assert statements(text, language) >= statements(case["original"], language), text


def test_every_repair_parses(outcomes):
    for case, text, _ in outcomes:
        if text is not None:
            assert Complaints(text, case["language"]).defects(Span(0, len(text))) == (), text
            assert text != case["damaged"]


def test_the_cases_are_what_the_script_makes():
    spec = importlib.util.spec_from_file_location("repair_generate", REPAIR / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.main(1, REPAIR / "originals", generate.A_LANGUAGE) == CASES


@pytest.mark.parametrize(
    ("language", "damaged", "expected"),
    [
        ("python", "a = (1\r\nb = 2\r\n", "a = (1)\r\nb = 2\r\n"),
        ("python", "x = 'é' +  ('ü'\ny = 2\n", "x = 'é' +  ('ü')\ny = 2\n"),
        ("python", "f(a, b]\n", "f(a, b)\n"),
        ("python", "if a\n    b()\n", "if a:\n    b()\n"),
        ("python", "fro a in b:\n    a()\n", "for a in b:\n    a()\n"),
        ("python", "fr a in b:\n    a()\n    fr(1)\n", None),  # a name that is used elsewhere
        ("python", "b = 1 +\n", None),  # an operand is no slip of the hand
        ("json", '{"a": [1], "b" 2}', '{"a": [1], "b": 2}'),
        ("json", '{"a": [1, 2,]}', '{"a": [1, 2]}'),
        ("css", "a {\n  color: red;\n", "a {\n  color: red;\n}\n"),
        ("lua", "local function f(a\n  return a\nend\n", "local function f(a)\n  return a\nend\n"),
        ("klingon", "f(", None),
        ("javascript", "  f(() => {\n    a();\nb", None),  # the code below is indented less than the bracket
        ("javascript", "let b = 1 +\nlet c = 2\n", None),  # `let, c = 2` would be valid
        ("javascript", "let a = ;\nfoo()\n", None),  # `let a = foo()` loses a statement
        ("python", "<<<<<<< HEAD\na = 1\n=======\na = 2\n>>>>>>> b\n", None),
        ("python", "this is some prose text\n", None),
        ("python", "a = 1\n", None),
    ],
)
def test_the_likeliest_slip_is_mended(language, damaged, expected):
    assert mended(damaged, language) == expected


def test_only_the_chosen_place_is_mended():
    text = "a = (1\n\nb = 2\n\nc = f(3]\n"
    assert mended(text, "python", within=Span(16, 24)) == "a = (1\n\nb = 2\n\nc = f(3)\n"


def test_a_block_of_a_long_text_is_searched_by_itself():
    filler = "def f(a):\n    return [a, 1]\n\n\n" * 1500
    text = f"{filler}def g(a:\n    return a\n\n\n{filler}"
    at = len(filler)
    assert mended(text, "python", within=Span(at, at + 8)) == f"{filler}def g(a):\n    return a\n\n\n{filler}"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"()[]{}\"'`,:;=\n\t\r\0é🎻", "    ", "\r\n", "if", "fro", "a", "b1", "'''"]), max_size=40
    ),
    st.sampled_from(["python", "javascript", "csharp", "ruby", "rust", "go"]),
)
def test_any_text_is_mended_or_left(pieces, language):
    text = "".join(pieces)
    after = mended(text, language)
    if after is not None:
        assert Complaints(text, language).defects(Span(0, len(text)))
        assert after != text


# No mistakes


@pytest.mark.parametrize(
    "cell",
    [
        "%matplotlib inline\n",
        "%matplotlib inline\r\nx = 1\r\n",
        "!pip install x\nimport os",
        "%%bash\nls -l (\n",
        "%%time\nx = 1\n",
        "%timeit f(x)",
        "os.path?",
        "f??\n",
        "?os.path\n",
        "files = !ls\n",
        "a, b = !ls \\\n  -l (\n",
        "x = %time f(x)\n",
        "for i in x:\n    %timeit f(i)\n",
    ],
)
def test_lines_for_ipython_are_no_mistakes_in_a_cell(cell):
    everything = Span(0, len(cell))
    assert Complaints(cell, "python", NOTEBOOK).defects(everything) == ()
    assert Complaints(cell, "python", cell=True).defects(everything) == ()
    assert Mender(cell, "python", NOTEBOOK).mend(everything) is None


def test_code_beside_lines_for_ipython_is_mended():
    assert mended("%matplotlib inline\nprint(1\n!ls (\n", "python", NOTEBOOK) == "%matplotlib inline\nprint(1)\n!ls (\n"
    assert mended("%matplotlib inline\nx = a\n", "python", "/w/a.py") is None


@pytest.mark.parametrize("text", ["# title", "# title\n- [a](", "```\n", "|a|\n|-"])
def test_no_markdown_is_wrong(text):
    assert Complaints(text, "markdown").defects(Span(0, len(text))) == ()


@pytest.mark.parametrize(
    "text", ['{"a": [1,], // one\n}\n', '{"a": ",]", /* ,} */ "b": 1, // }\n}', "[1, 2, /* a */ // b\n]"]
)
def test_trailing_commas_and_comments_are_no_mistakes_in_jsonc(text):
    assert Complaints(text, "jsonc").defects(Span(0, len(text))) == ()
    assert Complaints(text, None, "/w/a.jsonc").defects(Span(0, len(text))) == ()
    assert mended(text.replace('"a":', '"a"'), "jsonc") in (None, text)


def test_a_trailing_comma_is_a_mistake_in_json():
    assert Complaints('{"a": [1,]}', "json").defects(Span(0, 11))


@pytest.mark.parametrize(
    "text",
    [
        "class A[T = int]:\n    pass\n",  # 3.13
        "def f[T: int = str, *U](a: T) -> T:\n    return a\n",
        "type X[T = int] = list[T]\n",
        'print "a"\n',  # the grammar takes it
        "def f():\n",
        pytest.param('f"{x["a"]}"\n', marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12")),
    ],
)
def test_python_that_one_parser_alone_complains_about_is_no_mistake(text):
    assert Complaints(text, "python").defects(Span(0, len(text))) == ()


# Somebody else's repair


@pytest.mark.parametrize(
    ("before", "after", "mends"),
    [
        ("a = 1\n«b = (1»\n", "b = (1)", True),
        ("a = 1\n«b = (1»\n", "b = 1", True),
        ("a = 1\n«b = (1»\n", "b = ((1", False),
        ("a = 1\n«b = (1»\n", "c = 1", False),  # another name
        ("a = 1\n«b = 1 +»\n", "b = 1 + a", True),
        ("def f(x):\n    «retrun x»\n", "return x", True),
        ("def f(x):\n    «retrun x»\n", "return", False),  # a name is gone
        ("a = 1\n«b = (1»\nc = 2\n", 'b = """1', False),
        ("«b = (1»\nc = 2\n", "b = 1; '''", False),
        ("«b = (1»\nc = 2\n\ndef f(a):\n    return '''a'''\n", "b = 1 + '''", False),
        ("def f(a):\n    return [\n\n\ndef g(a):\n    pass\n\n\n«b = 1)»\n", "b = 1", True),
        ("def f(a):\n    return [\n\n\ndef g(a):\n    pass\n\n\n«b = 1)»\n", "b = 1))", False),
    ],
)
def test_a_repair_keeps_names_and_statements(before, after, mends):
    start, end = before.index("«"), before.index("»") - 1
    text = before.replace("«", "").replace("»", "")
    request = FillRequest(text, (Span(start, end),), language="python")
    assert Mender(text, "python").is_mended_by(request, (after,)) is mends
