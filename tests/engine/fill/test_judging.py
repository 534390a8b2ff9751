"""Candidates that all break the syntax: they are drawn anew a few times, then cut, then rejected."""

from __future__ import annotations

from dataclasses import replace

from palimpsest_engine import Draft, Fill, FillRequest, Span
from palimpsest_engine.fill import judging
from palimpsest_engine.fill.candidates import Candidates
from palimpsest_engine.fill.filler import Filler

# A random model writes next to no valid JSON.
BROKEN = FillRequest('{"a": [1, 2, 3], "b": }\n', (Span(22, 22),), language="json")
SEEDS = range(8)


def run(filler, request):
    *drafts, fill = filler.fill(request)
    assert isinstance(fill, Fill)
    assert all(isinstance(draft, Draft) for draft in drafts)
    return fill


def test_drawing_anew_offers_nothing_worse_and_only_it_repairs(checkpoint):
    for redraw in (True, False):
        filler = Filler(checkpoint, redraw=redraw)
        fills = [run(filler, replace(BROKEN, seed=seed)) for seed in SEEDS]
        assert all(fill.empty or fill.verdict.status in ("valid", "no worse") for fill in fills)
        treatments = {fill.treatment for fill in fills}
        assert treatments & {"repaired", "cut", "rejected"}
    assert "repaired" not in treatments
    assert "rejected" in treatments


def test_a_rejected_fill_was_drawn_anew_as_often_as_allowed(checkpoint, monkeypatch):
    draws, redrawn = [], Candidates.redrawn
    monkeypatch.setattr(Candidates, "redrawn", lambda self, *args: (draws.append(1), redrawn(self, *args))[1])
    monkeypatch.setattr("palimpsest_engine.fill.plan.ATTEMPTS", 1)
    filler, counts = Filler(checkpoint), set()
    for seed in SEEDS:
        draws.clear()
        fill = run(filler, replace(BROKEN, seed=seed))
        if fill.treatment in ("cut", "rejected"):
            counts.add(len(draws))
        assert len(draws) <= judging.REDRAWS
    assert counts == {judging.REDRAWS}


def test_a_pinned_hole_is_not_drawn_anew(checkpoint, monkeypatch):
    draws = []
    monkeypatch.setattr(Candidates, "redrawn", lambda self, *args: draws.append(1))
    for seed in SEEDS:
        run(
            Filler(checkpoint), FillRequest("a = [1, 2]]\n", (Span(4, 10),), language="python", strength=0.4, seed=seed)
        )
    assert draws == []
