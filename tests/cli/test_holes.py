from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import FillRequest
from palimpsest_server.cli.holes import MARKER, holes_in, without_markers

CASES = {
    "nothing": ("x = 1\n", []),
    "ellipsis": ("def f():\n    ...\n", ["..."]),
    "pass": ("async def f():\n    pass\n", ["pass"]),
    "on the same line": ("def f(): pass\n", ["pass"]),
    "not implemented": ("def f():\n    raise NotImplementedError\n", ["raise NotImplementedError"]),
    "not implemented, called": (
        'def f():\n    raise NotImplementedError(\n        "x"\n    )\n',
        ['raise NotImplementedError(\n        "x"\n    )'],
    ),
    "another error": ("def f():\n    raise NotImplementedErrors\n", []),
    "docstring": ('def f():\n    """Doc."""\n    ...\n', ["..."]),
    "only a docstring": ('def f():\n    """Doc."""\n', []),
    "comments": ("def f():\n    # TODO: write\n    pass  # soon\n", ["pass"]),
    "something else too": ("def f():\n    x = 1\n    pass\n", []),
    "returns an ellipsis": ("def f():\n    return ...\n", []),
    "method and nested": (
        "class A:\n    def f(self):\n        def g(): ...\n        return g\n    def h(self): pass\n",
        ["...", "pass"],
    ),
    "class": ("class A(Exception):\n    pass\n", []),
    "other statements": ("try:\n    f()\nexcept E:\n    pass\nif x:\n    ...\n", []),
    "abstract": ("class A:\n    @abc.abstractmethod\n    def f(self): ...\n", []),
    "overload": ("@overload\ndef f(x: int) -> int: ...\n", []),
    "another decorator": ("@cache\ndef f(): ...\n", ["..."]),
    "protocol": ("class P(Protocol[T]):\n    def f(self): ...\n    @property\n    def g(self): ...\n", []),
    "function in a method of a protocol": (
        "class P(Protocol):\n    def f(self):\n        def g(): ...\n        return g\n",
        ["..."],
    ),
    "marker": ("x = <|hole|>\n", ["<|hole|>"]),
    "marker and body": ("x = 1 # <|hole|>\ndef f(): ...\n", ["<|hole|>", "..."]),
    "marker in a body": ('def f():\n    raise NotImplementedError("<|hole|>")\n', ["<|hole|>"]),
    "astral before": ("x = '😀é'\ndef f(): ...\n", ["..."]),
    "carriage returns": ("def f():\r\n    ...\r\n", ["..."]),
    "broken elsewhere": ("def f():\n    ...\n\n\nx = (\ny = 1 +\n", ["..."]),
    "empty": ("", []),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_python(text: str, expected: list[str]) -> None:
    holes = holes_in(text, "python")
    assert [text[hole.start : hole.end] for hole in holes] == expected
    assert list(holes) == sorted(holes)


@pytest.mark.parametrize("language", ["rust", None])
def test_other_languages_have_markers_only(language: str | None) -> None:
    text = "def f(): ...\n<|hole|><|hole|>"
    assert [text[hole.start : hole.end] for hole in holes_in(text, language)] == ["<|hole|>"] * 2


@given(st.lists(st.sampled_from([MARKER, "def f():\n    ...\n", "x = '😀'\n", "\r\n", "pass\n"])).map("".join))
def test_removing_the_markers_gives_the_same_filled_text(text: str) -> None:
    holes = holes_in(text, "python")
    emptied, spans = without_markers(text, holes)
    assert MARKER not in emptied
    assert len(spans) == len(holes)
    if holes:
        texts = tuple(f"<{index}>" for index in range(len(holes)))
        assert FillRequest(emptied, spans).splice(texts) == FillRequest(text, holes).splice(texts)
