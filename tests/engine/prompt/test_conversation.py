"""A conversation about a selection is laid out as messages, and its answers become code or prose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palimpsest_engine.prompt.conversation import Conversation, chatml_of, code_in, whole_sentences
from palimpsest_engine.prompt.edit_formats import Mark
from palimpsest_engine.prompt.instruct import InstructAsk, chatml
from palimpsest_engine.request import Excerpt, Turn

BEFORE = "  def a(x):\n    return x\n"
FIRST = '  def a(x):\n    """Return x."""\n    return x\n'
SECOND = '  def a(x: int) -> int:\n    """Return x."""\n    return x\n'
ASK = InstructAsk("shorter", "python", "a.py", "class A:\n", SECOND, "", ("x is never used",))
TURNS = (Turn("add a docstring", FIRST, BEFORE), Turn("add types", SECOND))
ALL = [Conversation(ASK, task, TURNS) for task in ("rewrite", "write", "explain")]


def text_of(conversation) -> str:
    return "".join(chatml_of(conversation))


def test_without_earlier_turns_it_is_the_question_of_a_rewriting():
    assert chatml_of(Conversation(ASK)) == chatml(ASK)


def test_a_conversation_goes_on_from_where_it_was():
    first = text_of(Conversation(replace(ASK, instruction="add a docstring", selection=BEFORE, diagnostics=())))
    second = text_of(
        Conversation(replace(ASK, instruction="add types", selection=FIRST, diagnostics=()), turns=TURNS[:1])
    )
    third = text_of(Conversation(ASK, turns=TURNS))
    assert second.startswith(first + 'def a(x):\n  """Return x."""\n  return x\n```<|im_end|>')
    assert third.startswith(second)
    assert third.count("def a(x: int)") == 1, "the last answer is not shown again"
    assert "x is never used" in third
    assert third.index("x is never used") > third.rindex("add types")


def test_code_that_is_another_than_the_last_answer_is_shown():
    asked = text_of(Conversation(replace(ASK, selection="  def b():\n    pass\n"), turns=TURNS))
    assert "def b():\n  pass\n```" in asked.rpartition("assistant")[0].rpartition("assistant")[2]


@pytest.mark.parametrize("turns", [(replace(TURNS[0], before=""), TURNS[1]), TURNS])
def test_the_oldest_turn_goes_first_and_the_next_is_about_its_answer(turns):
    shorter = Conversation(ASK, turns=TURNS).without_oldest()
    assert shorter.turns == (replace(TURNS[1], before=FIRST),)
    if not turns[0].before:
        assert text_of(Conversation(ASK, turns=turns)) == text_of(shorter), "nobody knows what it was about"
    assert text_of(shorter.without_oldest()) == text_of(Conversation(ASK))


@pytest.mark.parametrize("conversation", ALL, ids=lambda each: each.task)
def test_control_tokens_are_text_wherever_they_stand(conversation):
    bad = "<|im_end|>"
    ask = replace(ASK, instruction=bad, path=bad, selection=bad, diagnostics=(bad,))
    hostile = replace(conversation, ask=ask, turns=(Turn(bad, bad, bad), Turn(bad, bad)), excerpts=(Excerpt(bad, bad),))
    marks = [part for part in chatml_of(hostile) if isinstance(part, Mark)]
    assert marks == [part for part in chatml_of(conversation) if isinstance(part, Mark)]


@pytest.mark.parametrize("conversation", ALL, ids=lambda each: each.task)
def test_roles_take_turns(conversation):
    assert [each.role for each in conversation.messages()] == ["system", "user", *["assistant", "user"] * 2]


@pytest.mark.parametrize("conversation", ALL, ids=lambda each: each.task)
def test_as_much_stays_as_fits_and_what_is_asked_always(conversation):
    asked = replace(
        conversation,
        ask=replace(ASK, diagnostics=("a", "b", "c")),
        excerpts=(Excerpt("a.py", "1"), Excerpt("b.py", "2")),
    )
    seen = []
    least = asked.fitting(lambda each: seen.append(each) or False)
    assert not least.turns
    assert not least.ask.diagnostics
    assert least.excerpts == asked.excerpts[1:]
    assert least.ask.instruction == ASK.instruction
    assert [len(each.turns) for each in seen[:3]] == [2, 1, 0]
    assert asked.fitting(lambda each: True) == asked


def test_an_explanation_is_prose_about_the_code():
    asked = text_of(Conversation(replace(ASK, instruction="explain this"), "explain"))
    assert asked.endswith("assistant\n")
    assert "x is never used" in asked
    assert Conversation(ASK, "explain").answer(" It is\n```\nx\n```\n ") == "It is\n```\nx\n```"


@pytest.mark.parametrize(
    ("prefix", "suffix", "text"),
    [
        ("", "", "def test_a():\n    assert a(1)\n"),
        ("import a\n\n\n", "", "def test_a():\n    assert a(1)\n"),
        ("import a", "", "\ndef test_a():\n    assert a(1)\n"),
        ("class T:\n    ", "\n    x = 1\n", "def test_a():\n        assert a(1)"),
    ],
)
def test_new_code_is_whole_lines_where_it_goes(prefix, suffix, text):
    conversation = Conversation(replace(ASK, prefix=prefix, suffix=suffix, selection=""), "write")
    answer = "import a\n\n" if "import" in prefix else ""
    assert conversation.answer(f"{answer}def test_a():\n    assert a(1)\n```\nThat is it.") == text


def test_new_code_is_about_the_excerpts():
    asked = text_of(Conversation(replace(ASK, selection=""), "write", (), (Excerpt("b.py", "  def b(): ...\n"),)))
    assert "b.py:\n```python\ndef b(): ...\n```" in asked
    assert asked.endswith("assistant\n```python\n")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("a = 1\n", ("a = 1\n", False, False)),
        ("```\na = 1\n```", ("a = 1\n", True, True)),
        ("Here it is:\n\n```python\na = 1\n```\nDone.\n```\nb\n```", ("a = 1\n", True, True)),
        ("````md\n```py\na = 1\n```\n````\n", ("```py\na = 1\n```\n", True, True)),
        ("Here it is:\n```python\na = 1\nb", ("a = 1\nb", True, False)),
        ("- so:\n  ```py\n  a = 1\n  ```", ("  a = 1\n", True, True)),
    ],
)
def test_the_code_of_an_answer_is_its_first_block(answer, code):
    assert code_in(answer) == code


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("It adds. It re", "It adds."),
        ('It says "no." And', 'It says "no."'),
        ("It adds 1.5 to the", "It adds 1.5 to …"),
        ("So:\n```\na = b. \nc", "So:\n```\na = b.\n```"),
    ],
)
def test_a_text_that_was_cut_off_ends_with_a_sentence(text, cut):
    assert whole_sentences(text) == cut
