"""A selection is rewritten as a user has instructed, or left with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.causal import write_model

from palimpsest_engine import Draft, EngineSettings, Fill, FillCancelled, FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.fill import instructed
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.prompt.instruct import chatml

TEXT = "x = 1\r\n  y = 2\r\nz = 3\r\n"
REQUEST = FillRequest(TEXT, (Span(7, 16),), language="python", path="a.txt", instruction="rename y")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A left-to-right model that takes turns."""
    checkpoint = load(EngineSettings(checkpoint=str(write_model(tmp_path_factory.mktemp("taught"))), device="cpu"))
    return replace(checkpoint, spec=replace(checkpoint.spec, edits="chatml"))


@pytest.fixture(autouse=True)
def plain_words(monkeypatch):
    """The tiny model has no tokens for turns."""
    monkeypatch.setattr(instructed, "chatml", lambda ask: tuple(map(str, chatml(ask))))


def fill_of(filler, request) -> Fill:
    *drafts, fill = filler.fill(request)
    assert all(isinstance(each, Draft) for each in drafts)
    return fill


def answering(monkeypatch, answer, *, ends=True):
    def written(self, prompt, most):
        yield answer, 1 if ends else most

    monkeypatch.setattr(instructed.Instructed, "_written", written)


@pytest.mark.parametrize(
    ("answer", "text", "reason"),
    [
        pytest.param("v = 2\n```", "  v = 2\r\n", "", id="the line ends and the margin of the document"),
        pytest.param("y = 2\n```", "", "as it is", id="the same again"),
        pytest.param("x = 1\n```", "", "wrote nothing", id="only what stands around it"),
        pytest.param("v = (2\n```", "", "broken the syntax", id="broken"),
    ],
)
def test_the_answer_is_offered_if_it_is_another_and_sound(taught, monkeypatch, answer, text, reason):
    answering(monkeypatch, answer)
    request = replace(REQUEST, text=TEXT.replace("  y", "if x:\r\n  y"), holes=(Span(14, 23),), path="a.py")
    fill = fill_of(Filler(taught), request)
    assert fill.texts == (text,)
    assert reason in fill.reason
    assert fill.ms > 0


def test_an_answer_that_does_not_end_is_not_offered(taught, monkeypatch):
    answering(monkeypatch, "v = 2\n", ends=False)
    assert "did not end" in fill_of(Filler(taught), REQUEST).reason


def test_any_model_answers_within_bounds(taught):
    fill = fill_of(Filler(taught), REQUEST)
    assert fill.empty == bool(fill.reason)


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
