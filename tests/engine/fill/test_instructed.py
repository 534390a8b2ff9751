"""A selection is rewritten as a user has instructed, or left with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.causal import write_model

from palimpsest_engine import Draft, EngineSettings, Fill, FillCancelled, FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.fill import answering, instructed
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.prompt.conversation import chatml_of
from palimpsest_engine.request import Excerpt, Turn

TEXT = "x = 1\r\n  y = 2\r\nz = 3\r\n"
REQUEST = FillRequest(TEXT, (Span(7, 16),), language="python", path="a.txt", instruction="rename y")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A left-to-right model that takes turns."""
    checkpoint = load(EngineSettings(checkpoint=str(write_model(tmp_path_factory.mktemp("taught"))), device="cpu"))
    return replace(checkpoint, spec=replace(checkpoint.spec, edits="chatml"))


@pytest.fixture(autouse=True)
def plain_words(monkeypatch):
    """The tiny model has no tokens for turns, and writes as much as it may."""
    monkeypatch.setattr(answering, "MORE", 24)
    monkeypatch.setattr(answering, "EXPLAINED", 24)
    monkeypatch.setattr(answering, "NEW", 24)
    monkeypatch.setattr(instructed, "chatml_of", lambda asked: tuple(map(str, chatml_of(asked))))


def fill_of(filler, request) -> Fill:
    *drafts, fill = filler.fill(request)
    assert all(isinstance(each, Draft) for each in drafts)
    return fill


def answers(monkeypatch, answer, *, ends=True):
    def written(self, resources, conversation, prompt, most):
        yield answer, 1 if ends else most

    monkeypatch.setattr(instructed.Instructed, "_written", written)


@pytest.mark.parametrize(
    ("answer", "text", "reason"),
    [
        pytest.param("v = 2\n```", "  v = 2\r\n", "", id="the line ends and the margin of the document"),
        pytest.param("y = 2\n```", "", "as it is", id="the same again"),
        pytest.param("if x:\n```", "", "wrote nothing", id="only what stands around it"),
        pytest.param("v = (2\n```", "", "broken the syntax", id="broken"),
    ],
)
def test_the_answer_is_offered_if_it_is_another_and_sound(taught, monkeypatch, answer, text, reason):
    answers(monkeypatch, answer)
    request = replace(REQUEST, text=TEXT.replace("  y", "if x:\r\n  y"), holes=(Span(14, 23),), path="a.py")
    fill = fill_of(Filler(taught), request)
    assert fill.texts == (text,)
    assert reason in fill.reason
    assert fill.ms > 0


def test_an_answer_that_does_not_end_is_not_offered(taught, monkeypatch):
    answers(monkeypatch, "v = 2\n", ends=False)
    assert "did not end" in fill_of(Filler(taught), REQUEST).reason


def test_any_model_answers_within_bounds(taught):
    fill = fill_of(Filler(taught), REQUEST)
    assert fill.empty == bool(fill.reason)
    assert 0 < fill.nfe <= 24 + len("  y = 2\r\n")


def test_a_cancelled_one_ends(taught):
    with pytest.raises(FillCancelled):
        list(Filler(taught).fill(REQUEST, lambda: True))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (replace(REQUEST, instruction="please " * 20_000), "The instruction is too long"),
        (replace(REQUEST, text="y = 2\n" * 5000, holes=(Span(0, 30_000),)), "of them would fit"),
    ],
)
def test_too_much_is_refused_with_the_number_that_would_fit(taught, request_, said):
    assert said in fill_of(Filler(taught), request_).reason


def test_a_model_that_was_not_taught_says_which_one_was(taught):
    plain = replace(taught, spec=replace(taught.spec, edits=""))
    assert "palimpsest models pull" in fill_of(Filler(plain), REQUEST).reason


@pytest.mark.parametrize("changed", [{"holes": (Span(0, 1), Span(2, 3))}])
def test_an_instruction_is_about_one_hole(changed):
    with pytest.raises(ValueError, match="one hole"):
        replace(REQUEST, **changed)


EXPLAIN = replace(REQUEST, task="explain", instruction="explain this")
WRITE = replace(
    REQUEST, holes=(Span(len(TEXT), len(TEXT)),), task="write", context=(Excerpt("b.py", "def b(): ...\n"),)
)


@pytest.mark.parametrize(
    ("request_", "answer", "text", "status"),
    [
        pytest.param(
            EXPLAIN, "It is 2.\n\n```\ny = (2\n```\n", "It is 2.\n\n```\ny = (2\n```", "not checked", id="explain"
        ),
        pytest.param(WRITE, "v = 2\n```\nDone.", "v = 2\r\n", "not checked", id="write in a file without a grammar"),
        pytest.param(replace(WRITE, path="a.py"), "v = (2\n```", "", "worse", id="broken"),
        pytest.param(
            replace(WRITE, path="a.py", text="\n", holes=(Span(0, 0),)), "v = 2\n```", "v = 2", "valid", id="new"
        ),
    ],
)
def test_an_explanation_is_not_judged_and_new_code_is(taught, monkeypatch, request_, answer, text, status):
    answers(monkeypatch, answer)
    fill = fill_of(Filler(taught), replace(request_, language=None))
    assert (fill.texts, fill.verdict.status) == ((text,), status)


def test_an_explanation_that_is_cut_off_ends_with_a_sentence(taught, monkeypatch):
    answers(monkeypatch, "It is 2. It was", ends=False)
    assert fill_of(Filler(taught), EXPLAIN).texts == ("It is 2.",)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("def a():\n    b(1)\n    b(2)\n    b(", "def a():\n    b(1)\n    b(2)\n"),
        ("b(\n    1,\n    2,\n", ""),
        ("b(1", ""),
    ],
)
def test_new_code_without_an_end_is_cut_to_whole_lines_if_these_are_sound(taught, monkeypatch, answer, text):
    answers(monkeypatch, answer, ends=False)
    fill = fill_of(Filler(taught), replace(WRITE, text="", holes=(Span(0, 0),), path="a.py"))
    assert fill.texts == (text,)
    assert bool(fill.reason) != (fill.treatment == "cut")


@pytest.mark.parametrize("request_", [REQUEST, EXPLAIN, WRITE], ids=lambda each: each.task)
def test_an_empty_answer_says_so(taught, monkeypatch, request_):
    answers(monkeypatch, "\n```")
    assert fill_of(Filler(taught), request_).empty == (request_.task != "explain")
    answers(monkeypatch, " \n ")
    assert fill_of(Filler(taught), request_).reason == "The model wrote nothing."


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (replace(REQUEST, holes=(Span(7, 7),)), "selection is empty"),
        (replace(EXPLAIN, holes=(Span(7, 7),)), "selection is empty"),
        (replace(REQUEST, instruction=" "), "instruction is empty"),
        (replace(WRITE, context=(Excerpt("b.py", "y = 2\n" * 5000),)), "What the model is shown is too long"),
    ],
)
def test_there_is_a_reason_where_nothing_can_be_asked(taught, request_, said):
    fill = fill_of(Filler(taught), request_)
    assert said in fill.reason
    assert not fill.nfe


def test_the_oldest_turns_and_excerpts_give_way(taught):
    turns = (Turn("one", "y = 2\n" * 3000, "y = 1\n"), Turn("two", "y = 3\n"))
    request = replace(REQUEST, turns=turns)
    alone = fill_of(Filler(taught), replace(request, turns=(replace(turns[1], before="y = 2\n" * 3000),)))
    assert fill_of(Filler(taught), request).context == alone.context
    long = fill_of(Filler(taught), replace(EXPLAIN, turns=(Turn("explain", "It is. " * 5000),)))
    assert long.context == fill_of(Filler(taught), EXPLAIN).context
    short = Excerpt("b.py", "def b(): ...\n")
    shown = fill_of(Filler(taught), replace(WRITE, context=(Excerpt("a.py", "y = 2\n" * 5000), short)))
    assert shown.context == fill_of(Filler(taught), replace(WRITE, context=(short,))).context > 0


def test_a_turn_reads_only_what_was_said_since(taught):
    filler = Filler(taught)
    request = replace(REQUEST, document="a")
    first = fill_of(filler, request)
    assert first.encoded == first.context
    followed = replace(request, turns=(Turn(request.instruction, "y = 3\n", "y = 2\n"),), instruction="shorter")
    assert fill_of(filler, followed).encoded < first.context
    assert fill_of(Filler(taught), followed).encoded > first.context
    filler.forget("a")
    assert len(filler.cached) == 0


@pytest.mark.parametrize("request_", [REQUEST, EXPLAIN, WRITE], ids=lambda each: each.task)
def test_it_can_be_cancelled_at_every_step(taught, request_):
    total = sum(isinstance(each, Draft) for each in Filler(taught).fill(request_))
    assert total > 0
    for step in {0, 1, total // 2, total}:
        looks = iter(range(step + 1))
        with pytest.raises(FillCancelled):
            list(Filler(taught).fill(request_, lambda looks=looks: next(looks, None) is None))
