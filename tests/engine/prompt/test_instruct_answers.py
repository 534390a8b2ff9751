"""The new text of the selection is all that reaches the document of what a chat model answers.

The answers are made up from what such models write around code. PALIMPSEST_ANSWERS is how many of each kind are tried.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palimpsest_engine import FillRequest, Span
from palimpsest_engine.prompt.answer_text import remark
from palimpsest_engine.prompt.instruct import InstructAsk, replacement
from palimpsest_engine.prompt.pieces import newline_of

many = settings(
    max_examples=int(os.environ.get("PALIMPSEST_ANSWERS", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

SENTENCES = [
    "Here is the rewritten code:",
    "Here's the updated function with type hints:",
    "Sure! This should do what you want:",
    "Certainly! Below is the code.",
    "The following code handles the error:",
    "I've simplified the function as you asked.",
]
REMARKS = [
    "This code raises a ValueError if the list is empty.",
    "The function now returns early.",
    "**Explanation:**\n\n1. The loop became a comprehension.\n2. Nothing else was changed.",
    "Note that the names are kept.",
    "In this version, the sum is computed with `sum()`.",
    "### Explanation\n- `total` is cached",
]
LINES = [
    "total = 0",
    "for item in items:",
    "    total += item",
    "return total",
    "",
    "\treturn -1",
    "}",
    "# the sum",
    "try:",
]
PREFIXES = [
    "",
    "import json\n\n\n",
    "import os\nimport json\n\n\nclass Box:\n",
    "#include <stdio.h>\n\nint a(void)\n{\n}\n\n",
]
SUFFIXES = [
    "",
    "\n\nprint(add(1, 2))\n",
    "\n    def count(self):\n        return len(self.items)\n",
    "\nint main(void)\n{\n}\n",
]
bodies = st.lists(st.sampled_from(LINES), min_size=1, max_size=8).map(
    lambda lines: "\n".join(["def add(items):", *lines])
)
margins = st.sampled_from(["", "    ", "\t", "  "])


@st.composite
def answers(draw):
    """A prefix, a selection, a suffix, and an answer with any of the habits of chat models around a body."""
    prefix, suffix, margin = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(SUFFIXES)), draw(margins)
    selection = "\n".join(margin + line for line in draw(bodies).split("\n")) + draw(
        st.sampled_from(["", "\n", "\n\n"])
    )
    body = draw(bodies)
    shift = draw(st.sampled_from(["", margin, "  ", "\t"]))
    body = "\n".join(shift + line for line in body.split("\n"))
    if prefix and draw(st.booleans()):
        body = prefix + body
    if suffix and draw(st.booleans()):
        body += "\n" + suffix
    closed = "```" if draw(st.booleans()) else ""
    answer = body + draw(st.sampled_from(["", "\n", "\n\n"])) + ("\n" + closed)
    if draw(st.booleans()):
        said = draw(st.sampled_from(SENTENCES)) + draw(st.sampled_from(["\n", "\n\n"]))
        answer = said + (f"```{draw(st.sampled_from(['', 'python', 'c']))}\n" if closed else "") + answer
    elif closed and draw(st.booleans()):
        answer = "```python\n" + answer
    if draw(st.booleans()):
        answer += "\n\n" + draw(st.sampled_from(REMARKS))
    if draw(st.booleans()):
        answer += "<|im_end|>" + draw(st.sampled_from(["", "\n<|im_start|>user\nThanks!", "\n```"]))
    if draw(st.booleans()):
        answer = answer.replace("\n", "\r\n")
    return prefix, selection, suffix, answer


@many
@given(answers())
def test_no_replacement_has_a_fence_a_remark_or_the_lines_around(parts):
    prefix, selection, suffix, answer = parts
    written = replacement(InstructAsk("x", "python", "a.py", prefix, selection, suffix), answer)
    lines = [line.strip() for line in written.split("\n") if line.strip()]
    own = {line.strip() for line in selection.split("\n")}
    before = [line.strip() for line in prefix.split("\n") if line.strip()][-1:]
    after = [line.strip() for line in suffix.split("\n") if line.strip()][:1]
    assert "```" not in written
    assert "<|im_" not in written
    assert "\r" not in written
    assert "def add(items):" in lines
    assert not any(map(remark, lines))
    assert not any(line.startswith(("Explanation", "**", "###")) for line in lines)
    if before and any(map(str.isalnum, before[0])):
        assert lines[0] not in set(before) - own
    if after:
        assert lines[-1] not in set(after) - own
    assert written.endswith("\n") == selection.endswith("\n")


texts = st.text(st.sampled_from("ab (){}\t\n\r`é漢😀\x0c\u2028"), max_size=60)


@many
@given(texts, texts, texts, st.one_of(texts, answers().map(lambda parts: parts[-1])))
def test_a_rewrite_changes_nothing_outside_of_the_selection(before, selected, after, answer):
    text = before + selected + after
    hole = Span(len(before), len(before) + len(selected))
    request = FillRequest(text, (hole,), path="a.py", instruction="change it", edit=True)
    written = replacement(InstructAsk("change it", "python", "a.py", before, selected, after), answer)
    spliced = request.splice((written.replace("\n", newline_of(text)),)).encode()
    assert spliced.startswith(before.encode())
    assert spliced.endswith(after.encode())
    assert len(spliced) == len(before.encode()) + len(written.replace("\n", newline_of(text)).encode()) + len(
        after.encode()
    )


@pytest.mark.parametrize("sentence", [*SENTENCES, *(text.split("\n")[0] for text in REMARKS)])
def test_sentences_of_chat_models_are_remarks(sentence):
    assert remark(sentence)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x = 1",
        "this.name = name",
        "here()",
        "Note = namedtuple('Note', 'text')",
        "# Here is a comment",
        "notes: list",
        "}",
    ],
)
def test_code_is_no_remark(line):
    assert not remark(line)
