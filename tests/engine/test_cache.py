"""Prefix cache: after any edit it is what a cold prefill would be, and only what changed was encoded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.passes import encode
from palimpsest_engine.prefix import PrefixCache

contexts = st.lists(st.integers(0, 96), min_size=1, max_size=40)


def decoder_logits(model, cache):
    canvas = torch.arange(10, 18)[None]
    with torch.no_grad():
        return model(decoder_input_ids=canvas, past_key_values=cache).logits


@settings(max_examples=30, deadline=None)
@given(edits=st.lists(contexts, min_size=1, max_size=4))
def test_after_edits_the_logits_are_those_of_a_cold_prefill(model, edits):
    warm = PrefixCache(model)
    for tokens in edits:
        before = list(warm.tokens)
        same = 0
        while same < min(len(before), len(tokens)) and before[same] == tokens[same]:
            same += 1
        assert warm.encode(tokens) == len(tokens) - same
        assert warm.tokens == tokens
    cold = DynamicCache(config=model.config.text_config)
    with torch.no_grad():
        model.model.encoder(input_ids=torch.tensor([edits[-1]]), past_key_values=cold)
    torch.testing.assert_close(decoder_logits(model, warm.cache), decoder_logits(model, cold), atol=2e-5, rtol=1e-4)


def test_typing_one_token_past_the_sliding_window_encodes_one_token(model):
    warm = PrefixCache(model)
    assert warm.encode(list(range(30))) == 30
    assert warm.encode([*range(30), 31]) == 1
    assert warm.encode([*range(29), 40]) == 1
    assert warm.encode(list(range(29))) == 0


def test_a_branch_leaves_the_trunk_alone(model):
    warm = PrefixCache(model)
    warm.encode(list(range(25)))
    before = decoder_logits(model, warm.cache)
    branch = warm.cache.branch(3, 20)
    encode(model, branch, torch.tensor([[1, 2], [3, 4], [5, 6]]))
    assert (branch.get_seq_length(), warm.cache.get_seq_length()) == (22, 25)
    assert torch.equal(decoder_logits(model, warm.cache), before)
    for row, new in enumerate([[1, 2], [3, 4], [5, 6]]):
        alone = RollbackCache.for_config(model.config.text_config)
        encode(model, alone, torch.tensor([[*range(20), *new]]))
        for mine, theirs in zip(branch.layers, alone.layers, strict=True):
            torch.testing.assert_close(mine.keys[row : row + 1], theirs.keys, atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(mine.values[row : row + 1], theirs.values, atol=2e-5, rtol=1e-4)


def test_a_failed_encoding_leaves_nothing_half_done(model, monkeypatch):
    warm = PrefixCache(model)
    warm.encode([1, 2, 3, 4])

    def broken(*args, **kwargs):
        raise MemoryError("no room")

    monkeypatch.setattr("palimpsest_engine.prefix.encode", broken)
    with pytest.raises(MemoryError):
        warm.encode([1, 2, 9])
    monkeypatch.undo()
    assert warm.tokens == []
    assert warm.encode([1, 2, 9]) == 3
