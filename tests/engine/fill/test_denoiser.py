"""A left-to-right model with a denoiser: canvases as it was trained on them, and when it writes and when it denoises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palimpsest_engine import Draft, Fill, FillRequest, Span
from palimpsest_engine.decoding import denoise as loop
from palimpsest_engine.fill import candidates
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.fill.ranking import Ranking


@pytest.fixture
def filler(denoising_checkpoint):
    return Filler(denoising_checkpoint)


def at(text, **options):
    place = text.index("¦")
    return FillRequest(text.replace("¦", ""), (Span(place, place),), path="a.py", document="d", **options)


def canvases(monkeypatch, filler, request):
    """Fill, and return the canvases that were denoised."""
    seen, denoise = [], candidates.denoise
    monkeypatch.setattr(
        candidates, "denoise", lambda m, c, canvas, *a: (seen.append(canvas), denoise(m, c, canvas, *a))[1]
    )
    *drafts, fill = filler.fill(request)
    assert all(isinstance(draft, Draft) for draft in drafts)
    assert isinstance(fill, Fill)
    return seen, fill


@pytest.mark.parametrize(("text", "pins"), [("a = ¦\n", 1), ("a = ¦\nbcd = 123\n", 8)])
def test_a_canvas_repeats_the_last_token_of_the_context_and_has_as_many_pins_as_it_was_trained_on(
    filler, monkeypatch, text, pins
):
    request = at(text)
    layout = CanvasFill(filler.resources, request, filler.prefix_cache("d")).layout
    canvas = canvases(monkeypatch, filler, request)[0][0]
    assert canvas.overlap == 1
    assert set(canvas.tokens[:, 0].tolist()) == {layout.context[-1]}
    for row, size in enumerate((2, 4, 16)):
        assert canvas.is_hole[row].nonzero().flatten().tolist() == list(range(1, 1 + size))
        assert canvas.used[row].tolist() == [place < 1 + size + pins for place in range(1 + 16 + pins)]
        assert canvas.tokens[row, 1 + size : 1 + size + pins].tolist() == list(layout.right[:pins])
    only = canvas.allowed[1].tolist()  # the blank before the hole is written again
    assert layout.healed == " "
    assert all(filler.tokens.texts[token].startswith(" ") for token in only)


def test_no_slot_is_a_mask_in_the_end(filler, monkeypatch):
    mask = filler.spec.denoising.mask_id
    assert bool(filler.resources.banned[mask])
    assert bool(filler.resources.all_banned[mask])
    assert not bool(filler.resources.banned[filler.spec.filler])
    steps = []
    monkeypatch.setattr(
        candidates,
        "denoise",
        lambda *a: (each for each in loop.denoise(*a) if steps.append(each) is None),
    )
    candidates_of = list(filler.fill(at("a = ¦\n", sizes=(4,))))
    assert isinstance(candidates_of[-1], Fill)
    assert mask not in steps[-1].tokens.flatten().tolist()


@pytest.mark.parametrize(
    ("fresh", "strength", "denoises"), [("written", 1.0, False), ("written", 0.4, True), ("denoised", 1.0, True)]
)
def test_new_text_is_written_and_kept_text_is_denoised_around(filler, monkeypatch, fresh, strength, denoises):
    filler.resources = replace(filler.resources, spec=replace(filler.spec, fresh=fresh), redraw=False)
    text = "total = alpha + beta\n"
    request = FillRequest(text, (Span(8, 20),), strength=strength, language=None, document="d")
    assert bool(canvases(monkeypatch, filler, request)[0]) == denoises


def test_a_written_candidate_stands_beside_the_denoised_ones(filler, monkeypatch):
    filler.resources = replace(filler.resources, spec=replace(filler.spec, causal_candidates=1), redraw=False)
    ranked = []
    rank = Ranking.rank
    monkeypatch.setattr(
        Ranking, "rank", lambda self, layout, found: (ranked.append(found), rank(self, layout, found))[1]
    )
    list(filler.fill(at("a = ¦\n", language=None)))
    assert len(ranked[0]) == 4  # three sizes and a line
    assert len(ranked[0][-1].tokens) == 1 + len(ranked[0][-1].spans[0]) + 1
