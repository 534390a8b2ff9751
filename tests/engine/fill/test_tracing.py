"""Traced fills of tiny random models of both families: what frames and judgements promise."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from palimpsest_engine import Draft, Fill, FillRequest, Span
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.fill.filler import Filler

LIVELY = Sampling(max_steps=9, t_min=0.02, t_max=0.06, entropy_bound=3.0, stability=0, confidence=0.2)
TEXT = "def total(items):\n    result = \n    return result\n"
AT = TEXT.index("\n    return")
REQUEST = FillRequest(TEXT, (Span(AT, AT),), language="python", trace=5)


@pytest.fixture(scope="module", params=["diffusion", "left to right, with a denoiser"])
def either(request):
    return request.getfixturevalue("checkpoint" if request.param == "diffusion" else "denoising_checkpoint")


@pytest.fixture(scope="module")
def filler(either):
    return Filler(replace(either, spec=replace(either.spec, fresh="denoised", tries=2, causal_candidates=2)))


def run(filler, request, cancelled=lambda: False):
    *drafts, fill = filler.fill(request, cancelled)
    assert all(isinstance(draft, Draft) for draft in drafts)
    assert isinstance(fill, Fill)
    return drafts, fill


def slots_of(drafts):
    for draft in drafts:
        for lane in draft.frame.lanes:
            for hole in lane.holes:
                yield from ((lane, slot) for slot in hole)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strength": 0.7, "holes": (Span(AT - 9, AT),)},
        {"strength": 0.4, "holes": (Span(AT - 9, AT),)},
        {"holes": (Span(4, 9), Span(AT, AT))},
        {"sizes": (60,)},
        {"max_lines": 1, "candidates": 3},
    ],
)
def test_a_traced_fill_has_the_texts_of_an_untraced_one(filler, changes):
    request = replace(REQUEST, seed=1, **changes)
    traced, plain = (run(filler, replace(request, trace=choices))[1] for choices in (3, 0))
    assert plain.traced is None
    assert replace(traced, traced=None, ms=0.0, encoded=0) == replace(plain, ms=0.0, encoded=0)


def test_an_untraced_fill_has_no_frames(filler):
    assert all(draft.frame is None for draft in run(filler, replace(REQUEST, trace=0))[0])


def test_every_draft_shows_all_candidates_with_their_choices(filler):
    drafts, _ = run(filler, replace(REQUEST, sizes=(2, 4, 8)))
    tries = 2 if filler.spec.sampling.t_max else 1  # the likeliest text is the same each time
    assert [len(lane.holes[0]) for lane in drafts[0].frame.lanes] == sorted([2, 4, 8] * tries)
    for lane, slot in slots_of(drafts):
        assert lane.kind == "denoised"
        assert slot.entropy >= 0
        assert 1 <= len(slot.choices) <= 5
        chances = [choice.probability for choice in slot.choices]
        assert sum(chances) <= 1 + 1e-6
        assert max(chances) == pytest.approx(chances[0], abs=1e-6)
        assert all(chance >= 0.001 for chance in chances[1:])
        assert slot.state in ("settled", "open")
        if not filler.spec.denoising.lasts:  # the others show what was drawn
            assert (slot.choices[0].key, slot.choices[0].text) == (slot.key, slot.text) or "\ufffd" in slot.choices[
                0
            ].text
    times = [draft.frame.ms for draft in drafts]
    assert times == sorted(times)


def test_tokens_that_are_kept_from_the_beginning_have_no_choices(filler):
    drafts, _ = run(filler, replace(REQUEST, strength=0.7, holes=(Span(AT - 9, AT),)))
    chosen = [slot.choices for _, slot in slots_of(drafts) if slot.choices]
    assert chosen
    assert all(choices[0].probability > 0 for choices in chosen)
    kept = [slot for _, slot in slots_of(drafts) if not slot.choices]
    assert bool(kept) == filler.spec.denoising.lasts  # the other family decides on every slot anew
    assert all((slot.state, slot.entropy) == ("settled", 0.0) for slot in kept)


def test_text_written_beside_denoised_text_is_in_lanes_of_its_own(filler):
    drafts, fill = run(filler, REQUEST)
    rows = len(drafts[0].frame.lanes)
    lanes = drafts[-1].frame.lanes
    assert [lane.kind for lane in lanes] == ["denoised"] * (len(lanes) - 2) + ["written"] * 2
    assert all(lane.finished for lane in lanes)
    assert {lane.number for lane in lanes if lane.kind == "written"} == {rows, rows + 1}
    for lane in lanes[-2:]:
        for slot in lane.holes[0]:
            assert slot.key in {choice.key for choice in slot.choices} or lane.number == rows + 1
            assert slot.state == "settled"
    (first,) = (lane for lane in lanes if lane.number == rows)
    assert all(slot.key == slot.choices[0].key for slot in first.holes[0] if slot.choices)
    assert fill.nfe < len(drafts)


def test_a_candidate_keeps_its_number_when_others_are_dropped(either):
    spec = replace(either.spec, fresh="denoised", prune=((1, 2), (2, 1)), causal_candidates=0)
    sampling = replace(spec.sampling, max_steps=4, confidence=-1.0)
    filler = Filler(replace(either, spec=replace(spec, sampling=sampling)), redraw=False)
    drafts, _ = run(filler, replace(REQUEST, sizes=(2, 4, 8)))
    lanes = [{lane.number: len(lane.holes[0]) for lane in draft.frame.lanes} for draft in drafts]
    assert lanes[0] == {0: 2, 1: 4, 2: 8}
    for before, after in pairwise(lanes):
        assert after.items() <= before.items()
    assert [len(each) for each in lanes[:2]] == [3, 2]


def test_a_traced_fill_tells_how_its_candidates_were_judged(filler):
    for seed in range(3):
        drafts, fill = run(filler, replace(REQUEST, seed=seed))
        judged = fill.traced.candidates
        assert [each.rank for each in judged] == list(range(len(judged)))
        scores = [each.score for each in judged]
        assert scores == sorted(scores, reverse=True)
        numbers = {lane.number for draft in drafts for lane in draft.frame.lanes}
        assert {each.number for each in judged} <= numbers
        chosen = [each for each in judged if each.chosen]
        assert len(chosen) == (not fill.empty)
        if fill.treatment in ("none", "repaired") and chosen:
            assert chosen[0].texts == fill.texts
            assert chosen[0].verdict == fill.verdict.status
        assert {stage.name for stage in fill.traced.stages} == {"encode", "denoise", "write", "rank", "judge"}
        assert sum(stage.ms for stage in fill.traced.stages) <= fill.ms


def test_a_healed_token_is_shown_without_the_text_that_it_writes_again(filler):
    text = "import os\nimpo"
    drafts, _ = run(filler, FillRequest(text, (Span(len(text), len(text)),), language=None, trace=3, sizes=(4,)))
    for draft in drafts:
        lane = draft.frame.lanes[0]
        first = lane.holes[0][0]
        whole = filler.tokens.shown(first.key)
        assert whole.endswith(first.text)
        assert whole != first.text or not first.text
        assert all(filler.tokens.shown(choice.key).endswith(choice.text) for choice in first.choices)


def test_all_holes_of_a_request_have_slots_while_they_are_filled(filler):
    far = "a = \n" + "c = 1234\n" * 30 + "b = \n"
    request = FillRequest(far, (Span(4, 4), Span(279, 279)), language=None, trace=2)
    drafts, fill = run(filler, request)
    seen = {tuple(bool(hole) for hole in lane.holes) for draft in drafts for lane in draft.frame.lanes}
    assert seen == {(True, False), (False, True)}
    assert all(len(each.texts) == 2 for each in fill.traced.candidates)
