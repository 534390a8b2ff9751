"""Rows hold what inference will ask for; a step's rows follow from the seed and the step alone."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from palimpsest_train.batches import batches
from palimpsest_train.splits import Source
from palimpsest_train.tokenizer import BOS, EOS, FILLER, PAD, PREFIX, SUFFIX


def test_rows_have_the_promised_shape_and_contents(rows):
    row = rows.shape
    for _ in range(60):
        batch = rows.batch(1)
        context, clean, noised, hole = batch.context[0], batch.clean[0], batch.noised[0], batch.is_hole[0]
        assert (noised[~hole] == clean[~hole]).all()
        assert FILLER not in clean[~hole]
        assert (batch.starts[0] >= 3).all()
        assert (batch.starts[0] <= row.context).all()
        targets = batch.targets[0]
        known = np.flatnonzero(targets >= 0)
        assert (targets[known] == context[known + 1]).all()
        for i in range(row.canvases):
            span = slice(i * row.canvas, (i + 1) * row.canvas)
            at = batch.at[0].reshape(row.canvases, -1)[i]
            weight = batch.weight[0].reshape(row.canvases, -1)[i]
            used = at[weight > 0]
            assert hole[used].all()
            assert ((used >= span.start) & (used < span.stop)).all()
            filler = clean[used] == FILLER
            assert weight[weight > 0][filler].sum() <= 1.0 + 1e-6
            assert hole[span].any()


def test_a_canvas_read_without_its_filler_is_the_document(rows):
    """Context before the start, then the canvas without filler: a stretch of the document, whatever kind of hole it is."""
    texts, row = rows.texts, rows.shape
    document = "".join(texts[t] for t in rows.tokens)
    for _ in range(100):
        batch = rows.batch(1)
        for i in range(row.canvases):
            start = int(batch.starts[0][i])
            clean = [t for t in batch.clean[0][i * row.canvas : (i + 1) * row.canvas] if t not in (FILLER, EOS)]
            first = batch.context[0].tolist().index(PREFIX) + 1
            before = "".join(texts[t] for t in batch.context[0][max(first, start - 6) : start])
            text = before + "".join(texts[t] for t in clean)
            if "" in (texts[t] for t in clean) or "\ufffd" in text:
                continue  # a piece of a character has no text of its own
            assert text in document


def parts(context):
    """(suffix, text after `<pre>` up to `<fill>` or padding, whether `<fill>` is there) of a left-to-right row."""
    ids = context.tolist()
    assert ids[:2] == [BOS, SUFFIX]
    split = ids.index(PREFIX)
    body = ids[split + 1 :]
    while body[-1] == PAD:
        body.pop()
    return ids[2:split], [t for t in body if t != FILLER], body[-1] == FILLER


def test_a_left_to_right_rows_suffix_begins_where_its_middle_ends(left_to_right):
    """Prefix and middle, then the suffix, is a stretch of one document; `<fill>` stands where the two meet."""
    rows = left_to_right
    ended = 0
    for _ in range(300):
        batch = rows.batch(1)
        suffix, text, fill = parts(batch.context[0])
        assert batch.context[0].tolist().count(FILLER) == fill == bool(suffix)
        stretch = np.array(text + suffix)
        first = [i for i in np.flatnonzero(rows.tokens[: len(rows.tokens) - len(stretch) + 1] == stretch[0])
                 if (rows.tokens[i : i + len(stretch)] == stretch).all()]  # fmt: skip
        assert first
        assert EOS not in stretch[:-1]
        ended += fill
    assert ended > 200


def test_a_left_to_right_row_learns_every_token_but_where_the_suffix_was_cut(left_to_right):
    for _ in range(100):
        batch = left_to_right.batch(1)
        context, targets = batch.context[0], batch.targets[0]
        suffix, text, fill = parts(context)
        length = 3 + len(suffix) + len(text) + fill
        known = set(np.flatnonzero(targets >= 0).tolist())
        assert known == set(range(length - 1)) - {1 + len(suffix)}
        assert all(targets[i] == context[i + 1] for i in known)


def test_both_objectives_see_windows_of_the_same_distribution(rows, left_to_right):
    """Lengths of suffixes and shares of rows without one are those of the diffusion rows."""

    def drawn(source):
        contexts = (source.batch(1).context[0].tolist() for _ in range(1500))
        return np.array([ids.index(PREFIX) - 2 for ids in contexts])

    one, other = drawn(rows), drawn(left_to_right)
    assert abs((one == 0).mean() - (other == 0).mean()) < 0.06
    assert abs(np.median(one[one > 0]) - np.median(other[other > 0])) < 3


@pytest.mark.parametrize("objective", ["diffusion", "left-to-right"])
def test_a_steps_batch_follows_from_seed_and_step_alone(corpus, smoke, objective):
    """Drawn between steps, by two processes ahead, or from the middle on: the same arrays."""
    recipe = replace(smoke, objective=objective)
    between = list(batches(Source(corpus, "train", recipe, 5), range(7)))
    ahead = list(batches(Source(corpus, "train", replace(recipe, workers=2), 5), range(7)))
    later = list(batches(Source(corpus, "train", recipe, 5), range(4, 7)))
    assert len(between) == len(ahead) == 7
    for some, offset in ((ahead, 0), (later, 4)):
        for i, batch in enumerate(some):
            for field in fields(batch):
                assert np.array_equal(getattr(batch, field.name), getattr(between[i + offset], field.name))
    assert not np.array_equal(between[0].context, between[1].context)
