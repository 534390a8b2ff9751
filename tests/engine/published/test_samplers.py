"""The published rules as written down: what each sampler promises, on a made-up model."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from .samplers import blocks_seen, candidates, cut, dream, dreamon, path_planning, planned, sdar, shifted

SIZE, MASK, GROW, DELETE = 40, 39, 38, 37
WORDS = 37  # ids below are text


def model(seed, *, never=(MASK, GROW, DELETE), scale=3.0):
    """Give logits that depend on all ids and on the place, and are always the same for the same ones."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(SIZE, SIZE, generator=generator)
    places = torch.randn(256, SIZE, generator=generator)

    def logits_of(ids):
        context = table[ids[0]].mean(0)
        logits = scale * (table[ids[0]] + context + places[: ids.shape[1]])
        logits[:, list(never)] = -1e4
        return logits[None]

    return logits_of


def sequence(seed, before=6, slots=9, after=5):
    generator = torch.Generator().manual_seed(seed)
    sides = torch.randint(0, WORDS, (before + after,), generator=generator)
    return torch.cat((sides[:before], torch.full((slots,), MASK), sides[before:]))[None]


def masks_in(ids):
    return int((ids == MASK).sum())


def unchanged(before, ids):
    known = before != MASK
    return torch.equal(ids[known], before[known])


def test_a_slot_is_read_from_the_place_before():
    logits = torch.arange(12.0).view(1, 4, 3)
    assert shifted(logits)[0, :, 0].tolist() == [0, 0, 3, 6]


@pytest.mark.parametrize(("top_p", "kept"), [(None, 4), (1.0, 4), (0.0, 1), (0.39, 1), (0.41, 2), (0.75, 3), (0.99, 4)])
def test_the_token_that_passes_top_p_is_kept(top_p, kept):
    logits = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    assert int((cut(logits, top_p).softmax(-1) > 0).sum()) == kept
    assert cut(logits, top_p).argmax() == 1


def test_certainty_is_that_of_the_distribution_drawn_from():
    logits = torch.tensor([[0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3]]).log()
    _, entropy = candidates(logits, 0, None, "entropy", None)
    assert entropy.tolist() == pytest.approx([-1.0297, -1.0986], abs=1e-4)
    tokens, chance = candidates(logits, 0, 0.7, "probability", None)
    assert (tokens[0], float(chance[0])) == (0, pytest.approx(0.625))
    _, colder = candidates(logits, 0.5, None, "margin", torch.Generator().manual_seed(0))
    assert colder.tolist() == pytest.approx([(0.25 - 0.09) / 0.38, 0.0], abs=1e-6)


def test_dreams_schedule_lags_one_slot_behind():
    counts, left = [], 8
    for step in range(8):
        counts.append(planned(left, step, 8))
        left -= counts[-1]
    assert counts == [0, 1, 1, 1, 1, 1, 1, 2]
    assert [planned(64, step, 4) for step in range(4)] == [15, 21, 31, 64]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 24), st.sampled_from(["entropy", "probability", "margin"])
)
def test_dream_accepts_what_its_schedule_says(seed, slots, steps, by):
    before = sequence(seed, slots=slots)
    ids = before
    for step, after in enumerate(dream(model(seed), before, MASK, steps=steps, temperature=0, by=by)):
        assert masks_in(ids) - masks_in(after) == planned(masks_in(ids), step, steps)
        assert unchanged(ids, after)
        ids = after
    assert step == steps - 1
    assert masks_in(ids) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 24))
def test_path_planning_leaves_as_many_masks_as_it_says(seed, slots, steps):
    before = sequence(seed, slots=slots)
    ids = before
    for step, after in enumerate(path_planning(model(seed), before, MASK, steps=steps, temperature=0)):
        assert masks_in(after) == pytest.approx(slots * (1 - (step + 1) / steps) - 0.5, abs=0.51)
        assert unchanged(before, after)
        settled = (ids != MASK) & (after != MASK)
        assert torch.equal(ids[settled], after[settled])
        ids = after
    assert masks_in(ids) == 0


def test_path_planning_takes_tokens_back():
    steps = list(path_planning(model(3), sequence(3, slots=20), MASK, steps=20, temperature=0))
    pairs = list(itertools.pairwise(steps))
    assert any(bool(((now == MASK) & (before != MASK)).any()) for before, now in pairs)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.booleans())
def test_dreamon_changes_the_length_as_its_slots_say(seed, slots, rightwards):
    before = sequence(seed, slots=slots)
    longest = slots + 6
    ids = before
    run = dreamon(
        model(seed, never=(MASK,)), before, MASK, GROW, DELETE, longest=longest, temperature=0, rightwards=rightwards
    )
    for after in run:
        change = after.shape[1] - ids.shape[1]
        if change == 1:
            assert masks_in(after) == masks_in(ids) + 1
        elif change < 0:
            assert masks_in(after) == masks_in(ids) + change
            assert rightwards or change == -1
        else:
            assert masks_in(after) == masks_in(ids) - 1
            assert unchanged(ids, after)
        assert after[0, :6].tolist() == before[0, :6].tolist()
        assert after[0, -5:].tolist() == before[0, -5:].tolist()
        assert after.shape[1] <= 11 + longest
        ids = after
    assert masks_in(ids) == 0
    assert not bool(((ids == GROW) | (ids == DELETE)).any())


def says(*tokens):
    """Make slots say these tokens, one after the other: the first slot that is left is the surest."""
    left = list(tokens)

    def logits_of(ids):
        logits = torch.zeros(1, ids.shape[1], SIZE)
        at = int((ids[0] == MASK).nonzero()[0])
        logits[0, at - 1, left.pop(0)] = 20.0
        return logits

    return logits_of


def test_dreamon_grows_and_deletes():
    ids = torch.tensor([[1, 2, MASK, MASK, MASK, DELETE]])
    options = {"temperature": 0, "longest": 8}
    steps = [each[0].tolist() for each in dreamon(says(5, GROW, 6, DELETE), ids, MASK, GROW, DELETE, **options)]
    assert steps == [
        [1, 2, 5, MASK, MASK, DELETE],
        [1, 2, 5, MASK, MASK, MASK, DELETE],
        [1, 2, 5, 6, MASK, MASK, DELETE],
        [1, 2, 5, 6, DELETE],  # both masks went; the prompt's own end token is no slot
    ]
    run = dreamon(says(5, GROW, 6, DELETE, 7), ids, MASK, GROW, DELETE, rightwards=False, **options)
    *_, last = run
    assert last[0].tolist() == [1, 2, 5, 6, 7, DELETE]


def test_dreamon_does_not_grow_for_ever():
    ids = torch.tensor([[1, MASK, 2]])
    steps = list(dreamon(says(*[GROW] * 20), ids, MASK, GROW, DELETE, temperature=0, longest=4))
    assert max(each.shape[1] for each in steps) == 2 + 4
    assert masks_in(steps[-1]) == 0
    assert not bool((steps[-1] == GROW).any())


def test_blocks_see_themselves_and_what_is_before():
    assert blocks_seen(6, 4).int().tolist() == [[1, 1, 1, 1, 0, 0]] * 4 + [[1] * 6] * 2


def blockwise(seed, scale=3.0):
    """Give logits of what each position sees."""
    generator = torch.Generator().manual_seed(seed)
    table, places = (torch.randn(SIZE, SIZE, generator=generator) for _ in range(2))

    def logits_of(ids, seen):
        weights = seen.float() / seen.sum(-1, keepdim=True)
        logits = scale * (weights @ table[ids[0]] + places[: ids.shape[1]])
        logits[:, [MASK, GROW, DELETE]] = -1e4
        return logits[None]

    return logits_of


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 9), st.integers(1, 17), st.sampled_from([None, 0.5, 0.85]))
def test_sdar_fills_block_after_block(seed, known, length, threshold):
    prompt = sequence(seed)[:, :known] if known < 6 else sequence(seed, before=known)[:, :known]
    ids = torch.full((1, -(-(known + length) // 4) * 4), MASK)
    ids[:, :known] = prompt
    for after in sdar(blockwise(seed), prompt, MASK, length=length, threshold=threshold, temperature=0):
        assert after.shape == ids.shape
        assert unchanged(ids, after)
        changed = (after != ids)[0].nonzero().squeeze(-1)
        assert len(set((changed // 4).tolist())) == 1  # one block
        first = int(changed[0]) // 4 * 4
        assert masks_in(ids[:, :first]) == 0  # after all those before
        assert len(changed) >= 1
        assert threshold is not None or len(changed) == 1
        ids = after
    assert masks_in(ids) == 0


def test_sdar_stops_after_the_block_with_a_stop():
    prompt = sequence(1)[:, :5]
    *_, whole = sdar(blockwise(1), prompt, MASK, length=15, temperature=0)
    stop = int(whole[0, 9])
    *_, last = sdar(blockwise(1), prompt, MASK, length=15, temperature=0, stops=(stop,))
    first = whole[0, 5:].tolist().index(stop) + 5
    end = first // 4 * 4 + 4
    assert last[0, :end].tolist() == whole[0, :end].tolist()
    assert masks_in(last[:, end:]) == last.shape[1] - end


@pytest.mark.parametrize(
    "run",
    [
        lambda seeded: dream(model(5), sequence(5), MASK, steps=9, temperature=1.0, generator=seeded),
        lambda seeded: path_planning(model(5), sequence(5), MASK, steps=9, generator=seeded),
        lambda seeded: dreamon(
            model(5, never=(MASK,)), sequence(5), MASK, GROW, DELETE, temperature=2.0, generator=seeded
        ),
        lambda seeded: sdar(blockwise(5, 0.5), sequence(5)[:, :5], MASK, length=12, generator=seeded),
    ],
    ids=["dream", "path planning", "dreamon", "sdar"],
)
def test_the_same_seed_draws_the_same(run):
    def all_of(seed):
        return [each.tolist() for each in run(torch.Generator().manual_seed(seed))]

    assert all_of(1) == all_of(1)
    assert len({str(all_of(seed)[-1]) for seed in range(12)}) > 1
