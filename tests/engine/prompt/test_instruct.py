"""An answer of a chat model becomes the replacement of a selection, and nothing else of it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine.prompt.edit_formats import Mark
from palimpsest_engine.prompt.instruct import InstructAsk, chatml, replacement

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
        "    def count(self):\n        return len(self.items)\n\n" + FITTED,
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
    assert "```" not in written
    assert not written or not selection.strip() or written.endswith("\n") == selection.endswith("\n")
