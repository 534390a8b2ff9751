"""Windows written anew after a change: new lines compete with the present ones, and the rest stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.causal import write_model

from palimpsest_engine import Draft, EngineSettings, Fill, FillCancelled, FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.fill import rewrite
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.request import Diff

TEXT = "a = f(1)\nb = f(2)\nc = 3\n"
CHANGES = (Diff("a.py", "a = g(1)\n", "a = f(1)\n"),)
REQUEST = FillRequest(TEXT, (Span(9, len(TEXT)),), language="python", path="a.py", changes=CHANGES, edit=True)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A left-to-right model that is asked as Sweep's are."""
    checkpoint = load(EngineSettings(checkpoint=str(write_model(tmp_path_factory.mktemp("taught"))), device="cpu"))
    return replace(checkpoint, spec=replace(checkpoint.spec, edits="sweep"))


@pytest.fixture(scope="module", params=["denoised", "written"])
def filler(request, taught):
    if request.param == "written":
        return Filler(taught)
    checkpoint = request.getfixturevalue("checkpoint")
    return Filler(replace(checkpoint, spec=replace(checkpoint.spec, edits="canvas")))


def fill_of(filler, request) -> Fill:
    *drafts, fill = filler.fill(request)
    assert all(isinstance(each, Draft) for each in drafts)
    return fill


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["x = 1\n", "\r\n", "é\n", "<|file_sep|>\n", "y"]), min_size=1, max_size=5), st.data())
def test_any_window_is_answered(filler, lines, data):
    text = "".join(lines)
    start = data.draw(st.integers(0, len(text)))
    request = FillRequest(text, (Span(start, len(text)),), language="python", path="a.py", changes=CHANGES)
    fill = fill_of(filler, request)
    assert fill.reason if fill.empty else fill.texts[0] != text[start:]


def test_a_cancelled_one_ends(filler):
    with pytest.raises(FillCancelled):
        list(filler.fill(REQUEST, lambda: True))


@pytest.mark.parametrize(
    ("proposed", "gains", "text", "reason"),
    [
        pytest.param("b = g(2)\nc = 3\n", (4.0, 1.0), "b = g(2)\nc = 3\n", "", id="the changes make it likelier"),
        pytest.param("b = g(2)\nc = 3\n", (4.0, 3.5), "", "does not follow", id="it was as likely without them"),
        pytest.param("b = g(2)\nc = 3\n", (-1.0, -9.0), "", "does not follow", id="the present text is likelier"),
        pytest.param("b = g(2\nc = 3\n", (4.0, 1.0), "", "broken the syntax", id="it breaks the syntax"),
        pytest.param("b = f(2)\nc = 3\n", (4.0, 1.0), "", "as it is", id="nothing else is proposed"),
        pytest.param("b = f( 2 )\nc = 3\n", (4.0, 1.0), "", "as it is", id="white space alone"),
        pytest.param("b = f(2\nc = 4\n", (4.0, 1.0), "b = f(2)\nc = 4\n", "", id="one place is sound by itself"),
    ],
)
def test_a_place_is_written_anew_only_if_it_follows(taught, monkeypatch, proposed, gains, text, reason):
    def written(self, window):
        yield from ()
        return proposed

    def gain(self, window, places, cache, *, knowing):
        return gains[0] if knowing else gains[1]

    monkeypatch.setattr(rewrite.Rewrite, "_written", written)
    monkeypatch.setattr(rewrite.Rewrite, "_gain", gain)
    fill = fill_of(Filler(taught), REQUEST)
    assert fill.texts == (text,)
    assert reason in fill.reason


def test_a_model_without_a_format_says_so(taught):
    plain = replace(taught, spec=replace(taught.spec, edits=""))
    assert "not taught" in fill_of(Filler(plain), REQUEST).reason


def test_line_ends_of_the_document_stay(taught, monkeypatch):
    def written(self, window):
        yield from ()
        return window.replace("2", "9")

    monkeypatch.setattr(rewrite.Rewrite, "_written", written)
    monkeypatch.setattr(rewrite.Rewrite, "_gain", lambda *_, knowing: 9.0 if knowing else 0.0)
    text = TEXT.replace("\n", "\r\n")
    fill = fill_of(Filler(taught), replace(REQUEST, text=text, holes=(Span(10, len(text)),)))
    assert fill.texts == ("b = f(9)\r\nc = 3\r\n",)
