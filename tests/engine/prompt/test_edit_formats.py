"""The prompts of next edits: the published ones as their models were taught them, and what an answer stands for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palimpsest_engine.prompt.edit_formats import FORMATS, EditAsk, Mark, plain_text
from palimpsest_engine.request import Diff

WINDOW = "def area(w, h):\n    return w\n"
ASK = EditAsk(
    "shape.py",
    "python",
    (Diff("shape.py", "def area(w):\n", "def area(w, h):\n"),),
    "import math\n\n",
    WINDOW,
    "\nprint(area(2))\n",
    WINDOW.index("return"),
)
SWEEP = """\
<|file_sep|>shape.py
import math

def area(w, h):
    return w

print(area(2))
<|file_sep|>shape.py.diff
original:
def area(w):
updated:
def area(w, h):
<|file_sep|>original/shape.py:3:4
def area(w):
    return w
<|file_sep|>current/shape.py:3:4
def area(w, h):
    <|cursor|>return w
<|file_sep|>updated/shape.py:3:4
"""
ZETA2 = """\
<[fim-suffix]>
print(area(2))

<[fim-prefix]><filename>edit_history
--- a/shape.py
+++ b/shape.py
@@ -1,1 +1,1 @@
-def area(w):
+def area(w, h):

<filename>shape.py
import math

<<<<<<< CURRENT
def area(w, h):
    <|user_cursor|>return w
=======
<[fim-middle]>"""


@pytest.mark.parametrize(("name", "expected"), [("sweep", SWEEP), ("zeta2", ZETA2)])
def test_a_published_prompt_is_written_as_published(name: str, expected: str) -> None:
    assert "".join(FORMATS[name].prompt(ASK)) == expected


def test_a_chat_is_asked_in_turns_and_begins_the_answer() -> None:
    prompt = "".join(FORMATS["chatml"].prompt(ASK))
    assert prompt.startswith("<|im_start|>system\n")
    assert prompt.endswith("<|im_end|>\n<|im_start|>assistant\n```python\n")
    assert "Before:\n```python\ndef area(w):\n```\nAfter:\n```python\ndef area(w, h):\n```" in prompt
    without = "".join(FORMATS["chatml"].prompt(replace(ASK, changes=())))
    assert "I changed" not in without
    assert WINDOW in without


@pytest.mark.parametrize("name", FORMATS)
def test_code_that_looks_like_a_mark_is_text(name: str) -> None:
    mark = next(part for part in FORMATS[name].prompt(ASK) if isinstance(part, Mark))
    prompt = FORMATS[name].prompt(replace(ASK, window=f"x = '{mark}'\n", cursor=None))
    assert any(mark in part for part in prompt if not isinstance(part, Mark))
    assert f"x = '{mark}'" not in plain_text(prompt, [mark])


@pytest.mark.parametrize(
    ("name", "answer", "window"),
    [
        ("chatml", "def area(w, h):\n    return w * h\n```\nThis fits.", "def area(w, h):\n    return w * h\n"),
        ("sweep", "def area(w, h):\n    return w * h\n<|file_sep|>x", "def area(w, h):\n    return w * h\n"),
        ("zeta2", "def area(w, h):\n    return w * h\n>>>>>>> UPDATED\n", "def area(w, h):\n    return w * h\n"),
        ("zeta2", "NO_EDITS\n>>>>>>> UPDATED\n", WINDOW),
        ("chatml", "\n```", WINDOW),
    ],
)
def test_an_answer_stands_for_a_window(name: str, answer: str, window: str) -> None:
    assert FORMATS[name].window(ASK, answer) == window


@pytest.mark.parametrize("window", ["a\n", "a\n\n\n", "a", "\n\na\n"])
def test_blank_lines_at_the_end_of_a_window_stay(window: str) -> None:
    ask = replace(ASK, window=window)
    assert FORMATS["chatml"].window(ask, f"{window}\n```") == window
