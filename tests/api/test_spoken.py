"""Prompts that were laid out for other models are read back, whatever their dialect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_api.spoken import Sides, sides_of
from palimpsest_engine import Excerpt
from palimpsest_engine.prompt.dialects import DIALECTS
from palimpsest_engine.remote.asking import Ask
from palimpsest_engine.remote.prompts import prompt_of


@pytest.mark.parametrize(
    ("prompt", "sides"),
    [
        ("a = 1", None),
        ("<|fim_prefix|>a", None),
        ("<|fim_prefix|>a<|fim_suffix|>b", None),
        ("<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", Sides("a", "b")),
        ("<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>c", Sides("ac", "b")),
        ("<|fim_prefix|><|fim_suffix|>b<|fim_middle|>a", Sides("a", "b")),
        ("<fim_prefix>a<fim_suffix>b<fim_middle>", Sides("a", "b")),
        ("<fim_suffix>b<fim_prefix>a<fim_middle>", Sides("a", "b")),
        ("<｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>", Sides("a", "b")),
        ("<PRE> a <SUF>b <MID>", Sides("a", "b")),
        ("[SUFFIX]b[PREFIX]a", Sides("a", "b")),
        (
            "<|repo_name|>p\n<|file_sep|>x.py\nX\n\n<|file_sep|>a.py\n<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>",
            Sides("a", "b", (Excerpt("x.py", "X"),), "a.py"),
        ),
        ("# x.py\nX\n<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", Sides("a", "b", (Excerpt("", "# x.py\nX\n"),))),
    ],
)
def test_a_prompt_is_read(prompt: str, sides: Sides | None) -> None:
    assert sides_of(prompt) == sides


CODE = st.text("abc =()\n", max_size=30)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
@given(before=CODE, after=CODE)
def test_prompts_of_our_own_client_are_read_as_they_were(dialect: object, before: str, after: str) -> None:
    found = sides_of(prompt_of(Ask(before, after), dialect))  # type: ignore[arg-type]
    assert found is not None
    if getattr(dialect, "name", "") == "codellama":  # its tokens have blanks around them
        before, after = before.strip(" "), after.strip(" ")
        assert (found.before.strip(" "), found.after.strip(" ")) == (before, after)
    else:
        assert (found.before, found.after) == (before, after)
