"""Canvases that begin with something, a temperature of the request's own, and requests to be written left to right."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.published import folders

from palimpsest_engine import Draft, EngineSettings, Fill, FillCancelled, FillRequest, Span, StartPiece
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.fill.start import NO_LEFT_TO_RIGHT, NO_PART, NO_START, NOT_BOTH

TEXT = "a = b\nc = \nreturn a\n"
REQUEST = FillRequest(TEXT, (Span(6, 6),), language=None, trace=4)  # behind a line end, where no token is written again
HEALED = replace(REQUEST, holes=(Span(9, 9),))  # in front of the blank: the word before it is written again


@pytest.fixture(
    scope="module", params=["diffusion", "left to right, with a denoiser", "Open-dCoder", "Dream", "DreamOn"]
)
def filler(request, tmp_path_factory):
    """Every family that denoises."""
    if request.param == "diffusion":
        return Filler(request.getfixturevalue("checkpoint"))
    if request.param == "left to right, with a denoiser":
        return Filler(request.getfixturevalue("denoising_checkpoint"))
    folder = folders.write(tmp_path_factory.mktemp("published") / request.param, request.param)
    return Filler(load(EngineSettings(str(folder), device="cpu", dtype="float32")))


def run(filler, request, cancelled=lambda: False):
    *drafts, fill = filler.fill(request, cancelled)
    assert all(isinstance(draft, Draft) for draft in drafts)
    assert isinstance(fill, Fill)
    return drafts, fill


def lanes_of(drafts):
    return [lane for draft in drafts for lane in draft.frame.lanes]


def pinned(text):
    return StartPiece("pinned", text)


@pytest.mark.parametrize("request_", [REQUEST, HEALED], ids=["plain", "healed"])
def test_pinned_slots_never_change_and_are_in_the_text(filler, request_):
    pieces = (pinned("re("), StartPiece("noise", slots=3), pinned("xy"), StartPiece("noise", slots=1))
    for seed in range(2):
        drafts, fill = run(filler, replace(request_, seed=seed, start=pieces))
        assert drafts
        lanes = lanes_of(drafts)
        assert {lane.number for lane in lanes} == {0}
        held = [[slot for slot in lane.holes[0] if slot.state == "pinned"] for lane in lanes]
        assert {"".join(slot.text for slot in slots) for slots in held} == {"re(xy"}
        assert all(
            slot.entropy == 0 and not slot.choices for lane in lanes for slot in lane.holes[0] if slot.state == "pinned"
        )
        (judged,) = fill.traced.candidates
        assert judged.texts[0].startswith("re(")
        assert "xy" in judged.texts[0]


def test_a_canvas_that_is_pinned_but_for_one_slot_changes_that_slot_alone(filler):
    drafts, _ = run(filler, replace(REQUEST, start=(StartPiece("noise", slots=4),)))
    slots = drafts[-1].frame.lanes[0].holes[0]
    pieces = [StartPiece("pinned", slot.text, key=slot.key) for slot in slots]
    pieces[1] = StartPiece("noise", slots=1)
    drafts, fill = run(filler, replace(REQUEST, seed=5, start=tuple(pieces)))
    for lane in lanes_of(drafts):
        hole = lane.holes[0]
        grown = len(hole) - len(slots)  # a model whose slots become more or fewer may do that with the open one
        assert hole[0].key == slots[0].key
        assert [slot.key for slot in hole[2 + grown :]] == [slot.key for slot in slots[2:]]
        assert [slot.state for slot in hole[2 + grown :]] == ["pinned"] * (len(slots) - 2)
    assert len(fill.traced.candidates) == 1


def test_a_healed_token_comes_back_by_its_key(filler):
    drafts, _ = run(filler, replace(HEALED, start=(StartPiece("noise", slots=2),)))
    first, *_ = drafts[-1].frame.lanes[0].holes[0]
    pieces = (StartPiece("pinned", first.text, key=first.key), StartPiece("noise", slots=1))
    drafts, _ = run(filler, replace(HEALED, start=pieces))
    again = drafts[-1].frame.lanes[0].holes[0][0]
    assert (again.key, again.text, again.state) == (first.key, first.text, "pinned")


def test_present_tokens_are_where_the_canvas_begins(filler):
    """A model that keeps what it has accepted keeps them; one that decides on all slots may replace them."""
    pieces = (StartPiece("present", "xy"), StartPiece("noise", slots=1))
    drafts, _ = run(filler, replace(REQUEST, start=pieces, max_steps=3))
    for lane in lanes_of(drafts):
        states = {slot.state for slot in lane.holes[0][:2]}
        assert "pinned" not in states
        if filler.spec.denoising.lasts:
            assert "".join(slot.text for slot in lane.holes[0][:2]) == "xy"
            assert states == {"settled"}


def test_a_canvas_with_nothing_to_decide_is_its_own_text(filler):
    drafts, fill = run(filler, replace(REQUEST, start=(pinned("x = 1"),)))
    assert not drafts
    assert fill.nfe == 0
    (judged,) = fill.traced.candidates
    assert judged.texts == ("x = 1",)


@pytest.mark.parametrize("slots", [0, 10_000, 10**12])
def test_a_start_without_room_or_slots_is_refused(filler, slots):
    drafts, fill = run(filler, replace(REQUEST, start=(StartPiece("noise", slots=slots),)))
    assert not drafts
    assert fill.empty
    assert "room for 1 to" in fill.reason


def test_the_key_of_another_model_is_not_used(filler):
    pieces = (StartPiece("pinned", "xy", key=10**9), StartPiece("pinned", "z", key=3), StartPiece("noise", slots=1))
    drafts, _ = run(filler, replace(REQUEST, start=pieces))
    texts = [slot.text for slot in drafts[-1].frame.lanes[0].holes[0] if slot.state == "pinned"]
    assert "".join(texts) == "xyz"


def test_a_fill_with_a_start_is_cancelled_before_the_next_step(filler):
    steps = 0

    def cancelled():
        return steps >= 1

    events = filler.fill(replace(REQUEST, start=(StartPiece("noise", slots=6),)), cancelled)
    next(events)
    steps = 1
    with pytest.raises(FillCancelled):
        next(events)


def test_a_request_is_written_left_to_right_if_the_model_can(filler):
    drafts, fill = run(filler, replace(REQUEST, left_to_right=True, sizes=(3,)))
    if filler.resources.sides:
        assert not drafts
        assert fill.reason == NO_LEFT_TO_RIGHT
        return
    assert {lane.kind for lane in lanes_of(drafts)} == {"written"}
    assert len(drafts[-1].frame.lanes[0].holes[0]) == 3
    assert all(draft.written for draft in drafts)
    assert {stage.name for stage in fill.traced.stages} == {"encode", "write", "rank", "judge"}


def test_a_temperature_of_0_takes_the_likeliest_tokens_whatever_the_seed(filler):
    request = replace(REQUEST, temperature=0.0, left_to_right=not filler.resources.sides, sizes=(4,))
    keys = set()
    for seed in range(3):
        drafts, _ = run(filler, replace(request, seed=seed))
        keys.add(tuple(slot.key for slot in drafts[-1].frame.lanes[0].holes[0]))
    assert len(keys) == 1


def test_a_high_temperature_draws_other_tokens_for_another_seed(filler):
    request = replace(REQUEST, temperature=4.0, left_to_right=not filler.resources.sides, sizes=(4,))
    keys = set()
    for seed in range(3):
        drafts, _ = run(filler, replace(request, seed=seed))
        keys.add(tuple(slot.key for slot in drafts[-1].frame.lanes[0].holes[0]))
    assert len(keys) > 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"left_to_right": True, "start": (StartPiece("noise", slots=2),)}, NOT_BOTH),
        ({"left_to_right": True, "strength": 0.5}, NO_PART),
    ],
)
def test_contradictions_are_refused(checkpoint, changes, reason):
    fill = run(Filler(checkpoint), replace(REQUEST, **changes))[1]
    assert (fill.texts, fill.reason) == (("",), reason)


def test_a_model_that_only_writes_refuses_a_start(checkpoint):
    fill = run(Filler(checkpoint, left_to_right=True), replace(REQUEST, start=(StartPiece("noise", slots=2),)))[1]
    assert (fill.texts, fill.reason) == (("",), NO_START)


def test_a_piece_has_no_fewer_than_no_slots():
    with pytest.raises(ValueError, match="0 slots"):
        StartPiece("noise", slots=-1)
