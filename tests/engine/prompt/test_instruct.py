"""An answer of a chat model becomes the replacement of a selection, and nothing else of it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine.prompt.edit_formats import Mark
from palimpsest_engine.prompt.instruct import InstructAsk, chatml, ends_of, replacement

PREFIX = "import json\n\n\nclass Box:\n"
SELECTION = "    def total(self):\n        return sum(self.items)\n"
SUFFIX = "\n    def count(self):\n        return len(self.items)\n"
ASK = InstructAsk("simplify", "python", "box.py", PREFIX, SELECTION, SUFFIX)
BARE = "def total(self):\n    return 0\n"
FITTED = "    def total(self):\n        return 0\n"


@pytest.mark.parametrize(
    "answer",
    [
        BARE,
        BARE + "```",
        BARE + "```\nHere the sum is gone.",
        BARE + "<|im_end|>",
        "```python\n" + BARE + "```",
        "\n\n" + BARE + "\n\n",
        FITTED,
        "import json\n\nclass Box:\n" + FITTED,
        "Here is the code:\n```python\n" + BARE + "```\nIt returns 0.",
        "Sure! This should do it:\n\n```\n" + BARE + "```",
        BARE + "\nThis code returns 0 for every box.\n",
        BARE + "\n**Explanation:**\n- the sum is gone\n",
        BARE.replace("\n", "\r\n") + "```\r\n",
        "def total(self):\n\treturn 0\n",
        FITTED + SUFFIX,
        "import json\n\n\n" + BARE + "\n\ndef count(self):\n    return len(self.items)\n```\nDone.",
    ],
)
def test_fences_prose_and_repeated_surroundings_are_no_part_of_the_replacement(answer):
    assert replacement(ASK, answer) == FITTED


@pytest.mark.parametrize("answer", ["", "\n", "```", "import json\n", SUFFIX, "<|im_end|>"])
def test_an_answer_without_code_of_its_own_is_empty(answer):
    assert replacement(ASK, answer) == ""


def test_lines_that_the_selection_has_itself_stay():
    ask = InstructAsk("add a line", "python", "a.py", "x = 1\n", "x = 1\ny = 2\n", "y = 2\n")
    assert replacement(ask, "x = 1\ny = 2\n") == "x = 1\ny = 2\n"


@pytest.mark.parametrize("line", ["@property", "try:", "return None"])
def test_a_line_that_also_stands_farther_away_stays(line):
    around = f"class A:\n    {line}\n\n    x = 1\n\n"
    for answer in (f"{line}\na()\n", f"a()\n{line}\n"):
        assert replacement(InstructAsk("change it", "python", "a.py", around, "b()\n", around), answer) == answer


def test_a_selection_with_fences_is_asked_for_between_longer_ones():
    selection = "Run it:\n```sh\nmake\n```\nDone.\n"
    ask = InstructAsk("say please", "markdown", "a.md", "", selection, "")
    assert f"````markdown\n{selection}````" in "".join(chatml(ask))
    assert ends_of(ask)[0] == "\n````"
    answer = "Please run it:\n```sh\nmake\n```\nDone.\n"
    assert replacement(ask, answer + "````\nI was polite.") == answer


def test_a_sentence_stays_where_a_text_is_rewritten():
    ask = InstructAsk("say it nicer", "markdown", "a.md", "# Title\n\n", "The code runs.\n", "")
    assert replacement(ask, "Here is what the code does: it runs.\n") == "Here is what the code does: it runs.\n"


def test_a_lone_bracket_is_no_repeated_line():
    ask = InstructAsk("rename", "go", "a.go", "func a() {\n}\n", "func b() int {\n\treturn 1\n\n}\n", "func c() {\n}\n")
    assert replacement(ask, "func d() int {\n\treturn 1\n}\n") == "func d() int {\n\treturn 1\n}\n"


@pytest.mark.parametrize(
    ("selection", "answer", "expected"),
    [
        ("\n\tfoo()\n\n", "bar()\n", "\n\tbar()\n\n"),
        ("foo()", "bar()\n", "bar()"),
        ("  foo()\n    x()\n", "if a:\n  bar()\n", "  if a:\n    bar()\n"),
        ("\n", "bar()\n", "bar()\n"),
        ("if a:\n\tfoo()\n", "if a:\n    if b:\n        foo()\n", "if a:\n\tif b:\n\t\tfoo()\n"),
        (
            "\tif a:\n\t\tfoo()\n",
            "if a:\n  /*\n   * x\n   */\n  foo()\n",
            "\tif a:\n\t\t/*\n\t\t * x\n\t\t */\n\t\tfoo()\n",
        ),
        ("if a:\n  foo()\n", "if a:\n\tif b:\n\t\tfoo()\n", "if a:\n  if b:\n    foo()\n"),
        ("if a:\n\tfoo()\nx = [\n  1]\n", "if a:\n\tbar()\nx = [\n  1]\n", "if a:\n\tbar()\nx = [\n  1]\n"),
    ],
)
def test_margin_and_blank_lines_are_those_of_the_selection(selection, answer, expected):
    assert replacement(InstructAsk("x", "", "a", "", selection, ""), answer) == expected


def test_the_prompt_shows_the_selection_without_its_margin_and_begins_the_answer():
    prompt = chatml(ASK)
    text = "".join(map(str, prompt))
    assert "```python\ndef total(self):\n    return sum(self.items)\n```" in text
    assert "simplify" in text
    assert "count(self)" not in text
    assert text.endswith("assistant\n```python\n")


def test_control_tokens_in_code_or_instruction_are_text():
    ask = InstructAsk("<|im_end|>", "python", "a.py", "", "x = '<|im_start|>'\n", "")
    marks = [part for part in chatml(ask) if isinstance(part, Mark)]
    assert marks == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>", "<|im_start|>"]


code = st.lists(st.sampled_from(["a()", "  b = 1", "", "\tc", "}", "```", "import json"]), max_size=6).map("\n".join)


@given(code, code, code, code)
def test_no_replacement_has_a_fence_or_loses_the_line_end_of_its_selection(prefix, selection, suffix, answer):
    written = replacement(InstructAsk("x", "python", "a.py", prefix, selection, suffix), answer)
    assert "```" not in written or "```" in selection
    assert not written or not selection.strip() or written.endswith("\n") == selection.endswith("\n")
