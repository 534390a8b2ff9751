"""Rows: what a canvas holds and sees, where a slot is read, what the base is asked, and what each slot weighs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from palimpsest_train.denoiser import texts
from palimpsest_train.denoiser.recipe import SIZES, SMOKE, changed, longest_hole, share_of_rate
from palimpsest_train.denoiser.rows import Rows
from palimpsest_train.denoiser.tokens import Vocabulary, choose, plain
from palimpsest_train.errors import TrainingError

from .conftest import small_tokenizer


@pytest.fixture
def rows(kit, vocabulary):
    return Rows(texts.read(kit.folder / "train.safetensors"), vocabulary, SMOKE, 7)


def canvases(row):
    """Each canvas of a row: (its places, the places of its slots with a loss)."""
    for segment in range(int(row.segments[row.segments < len(row.canvas)].max()) + 1):
        places = np.flatnonzero(row.segments == segment)
        yield places, row.at[np.isin(row.at, places)]


def test_a_canvas_begins_with_the_token_before_its_hole_and_sees_what_is_before_it(rows, vocabulary):
    for _ in range(40):
        row = rows.row()
        for places, _ in canvases(row):
            seen = int(row.seen[places[0]])
            assert (row.seen[places] == seen).all()
            assert row.canvas[places[0]] == row.context[seen - 1]
            assert (row.positions[places] == np.arange(seen - 1, seen - 1 + len(places))).all()


def test_a_slot_is_read_one_place_before_it_and_masked_where_it_has_a_loss(rows, vocabulary):
    for _ in range(40):
        row = rows.row()
        assert (row.canvas[row.at + 1] == vocabulary.special.mask).all()
        assert (row.segments[row.at] == row.segments[row.at + 1]).all()
        assert set(np.flatnonzero(row.canvas == vocabulary.special.mask)) == set(row.at + 1)


def test_the_base_is_asked_for_the_same_token(rows, vocabulary):
    asked = 0
    for _ in range(40):
        row = rows.row()
        taught = row.taught >= 0
        # The last middle token of a context is followed by nothing in it, and still predicted by what is before it.
        inside = taught & (row.taught + 1 < len(row.context))
        assert (row.context[row.taught[inside] + 1] == row.target[inside]).all()
        assert not taught[row.target == vocabulary.special.filler].any()
        asked += inside.sum()
    assert asked > 100


def test_all_filler_of_a_canvas_weighs_like_one_token(rows, vocabulary):
    seen = 0
    for _ in range(40):
        row = rows.row()
        for _, slots in canvases(row):
            chosen = np.isin(row.at, slots) & (row.target == vocabulary.special.filler)
            if chosen.any():
                assert row.weight[chosen].sum() == pytest.approx(1.0)
                seen += 1
            rest = np.isin(row.at, slots) & (row.target != vocabulary.special.filler)
            assert (row.weight[rest] == 1).all()
    assert seen > 20


def test_holes_grow(rows):
    rows.longest = 4
    for _ in range(20):
        cut = rows.cut()
        assert cut is None or len(cut.middle) <= 4


def test_uniform_noise_has_a_loss_everywhere_in_the_hole_and_no_mask(kit, vocabulary):
    rows = Rows(texts.read(kit.folder / "train.safetensors"), vocabulary, replace(SMOKE, noise="uniform"), 7)
    for _ in range(20):
        row = rows.row()
        assert len(row.at)
        assert len(np.unique(row.at)) == len(row.at)


def test_rows_of_a_batch_are_numbered_through(rows):
    batch = rows.batch(3)
    assert batch.context.shape == (3, SMOKE.context)
    assert batch.at.max() >= 2 * SMOKE.canvas
    assert batch.taught.max() >= 2 * SMOKE.context
    flat = batch.canvas.reshape(-1)
    assert (flat[batch.at + 1] == rows.vocabulary.special.mask).all()


def test_a_token_that_was_left_out_falls_apart(vocabulary):
    tokenizer = plain(small_tokenizer())
    mask = tokenizer.get_vocab_size()
    ids = choose(tokenizer, ["return self"] * 3, 256 + 8 + 3, mask)
    small = Vocabulary(ids, tokenizer, mask)
    text = "def return_self(self):\n    é = 1\n"
    assert len(small) < len(vocabulary)
    assert small.decode(small.encode(text)) == text
    assert len(small.encode(text)) > len(vocabulary.encode(text))


def test_the_schedule():
    recipe = replace(SMOKE, warmup=0.1, cooldown=0.25, grow=0.2)
    assert share_of_rate(recipe, 0.05) == pytest.approx(0.5)
    assert share_of_rate(recipe, 0.5) == 1
    assert share_of_rate(recipe, 0.875) == pytest.approx(0.5)
    assert share_of_rate(recipe, 1.0) == 0
    assert [longest_hole(recipe, p) for p in (0, 0.06, 0.12, 0.17, 0.3)] == list(SIZES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rank", "changes nothing"),
        ("ranks=4", "changes nothing"),
        ("rank=four", "'four' is none"),
        ("noise=white", "noise"),
        ("context=250", "multiples of 8"),
        ("at_once=3", "at once"),
    ],
)
def test_a_change_that_does_not_fit_is_a_sentence(change, said):
    with pytest.raises(TrainingError, match=said):
        changed(SMOKE, [change])


def test_changes_have_the_type_of_their_field():
    found = changed(SMOKE, ["rank=8", "pins=2,4", "noise=uniform", "distil=0"])
    assert (found.rank, found.pins, found.noise, found.distil) == (8, (2, 4), "uniform", 0.0)
