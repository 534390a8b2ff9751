"""The scripted engine shows a traced request at work as a model's engine does."""

from __future__ import annotations

from itertools import pairwise

import pytest

from palimpsest_engine import FillRequest, Span, StartPiece
from palimpsest_engine.runtime.scripted import ScriptedEngine

SCRIPT = ["return a + b", "pass"]


def filled(**options):
    drafts = []
    request = FillRequest("def f(a, b):\n    \n", (Span(17, 17),), **options)
    fill = ScriptedEngine(SCRIPT, steps=4).submit(request, drafts.append).future.result(10)
    return drafts, fill


def text_of(lane):
    return "".join(slot.text for slot in lane.holes[0])


def test_frames_end_in_the_text_of_the_fill():
    drafts, fill = filled(trace=3)
    assert [len(draft.frame.lanes) for draft in drafts] == [2, 2, 1, 1]
    last = drafts[-1].frame.lanes[0]
    assert last.finished
    assert text_of(last) == fill.texts[0] == "return a + b"
    assert [slot.state for slot in last.holes[0]] == ["settled"] * 5
    for draft in drafts:
        for lane in draft.frame.lanes:
            for slot in lane.holes[0]:
                assert len(slot.choices) == 3
                assert (slot.choices[0].text, slot.choices[0].key) == (slot.text, slot.key)
                assert sum(choice.probability for choice in slot.choices) <= 1
    (judged,) = fill.traced.candidates
    assert judged.texts == fill.texts
    assert [stage.name for stage in fill.traced.stages] == ["encode", "denoise", "rank", "judge"]


def test_nothing_is_traced_unasked():
    drafts, fill = filled()
    assert all(draft.frame is None for draft in drafts)
    assert fill.traced is None


def test_text_written_left_to_right_grows():
    drafts, fill = filled(trace=1, left_to_right=True)
    texts = [text_of(draft.frame.lanes[0]) for draft in drafts]
    assert all(draft.frame.lanes[0].kind == "written" and draft.written for draft in drafts)
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert texts[-1] == fill.texts[0]


@pytest.mark.parametrize("by_key", [False, True])
def test_pinned_pieces_stay_and_noise_becomes_words_of_the_script(by_key):
    slots = filled(trace=1)[0][-1].frame.lanes[0].holes[0]
    key = slots[2].key if by_key else None
    pieces = (
        StartPiece("pinned", slots[0].text),
        StartPiece("noise", slots=1),
        StartPiece("pinned", slots[2].text, key=key),
    )
    drafts, fill = filled(trace=1, start=pieces)
    for draft in drafts:
        (lane,) = draft.frame.lanes
        (hole,) = lane.holes
        assert [hole[at].state for at in (0, 2)] == ["pinned", "pinned"]
        assert [hole[at].text for at in (0, 2)] == [slots[0].text, slots[2].text]
    assert fill.texts[0].startswith("return")
    assert fill.texts[0].endswith(" +")
