"""Prefix cache: after any edit it is what a cold prefill would be, and only what changed was encoded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from palimpsest_engine.model.forward import encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.layers import CACHE
from palimpsest_engine.model.prefix_cache import PrefixCache, common

contexts = st.lists(st.integers(0, 96), min_size=1, max_size=40)


def decoder_logits(model, cache):
    canvas = torch.arange(10, 18)[None]
    with torch.no_grad():
        return model(decoder_input_ids=canvas, **{CACHE: cache}).logits


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
        model.model.encoder(input_ids=torch.tensor([edits[-1]]), **{CACHE: cold})
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


@settings(max_examples=20, deadline=None)
@given(edits=st.lists(contexts, min_size=1, max_size=5), kept=st.integers(0, 12), piece=st.integers(1, 15))
def test_a_cache_that_forgets_gives_the_same_states(model, edits, kept, piece):
    """In pieces, with little kept behind the window: what a rollback lacks is encoded again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("palimpsest_engine.model.kv_cache.KEPT", kept)
        patch.setattr("palimpsest_engine.model.kv_cache.LEAST", 1)
        patch.setattr("palimpsest_engine.model.prefix_cache.PIECE", piece)
        warm = PrefixCache(model)
        for tokens in edits:
            warm.encode(tokens)
            assert warm.cache.get_seq_length() == len(warm.tokens) == len(tokens)
    cold = DynamicCache(config=model.config.text_config)
    with torch.no_grad():
        model.model.encoder(input_ids=torch.tensor([edits[-1]]), **{CACHE: cold})
    torch.testing.assert_close(decoder_logits(model, warm.cache), decoder_logits(model, cold), atol=2e-5, rtol=1e-4)


def test_a_sliding_layer_does_not_keep_everything(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("palimpsest_engine.model.kv_cache.KEPT", 10)
        patch.setattr("palimpsest_engine.model.kv_cache.LEAST", 1)
        warm = PrefixCache(model)
        for length in range(1, 300):
            warm.encode([7] * length)
        sliding, full = warm.cache.layers[:2]
        assert (sliding.kept_keys.shape[2] < 60, full.kept_keys.shape[2]) == (True, 299)
        assert warm.encode([7] * (warm.cache.earliest - 1)) == warm.cache.get_seq_length()  # too far back: from nothing


def test_an_encoding_ended_between_pieces_keeps_the_encoded_tokens(model, monkeypatch):
    monkeypatch.setattr("palimpsest_engine.model.prefix_cache.PIECE", 4)
    warm, calls = PrefixCache(model), []

    def between():
        calls.append(None)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        warm.encode(list(range(20)), between)
    assert warm.tokens == list(range(8))
    assert warm.encode(list(range(20))) == 12


def test_a_branch_and_its_trunk_do_not_write_into_each_other(model):
    warm = PrefixCache(model)
    warm.encode([*range(25)])
    branch = warm.cache.branch(1, 20)
    encode(model, branch, torch.tensor([[1, 2, 3]]))
    alone = PrefixCache(model)
    alone.encode([*range(20), 1, 2, 3])
    torch.testing.assert_close(decoder_logits(model, branch), decoder_logits(model, alone.cache), atol=2e-5, rtol=1e-4)
    assert warm.encode([*range(25), 7]) == 1
    alone.encode([*range(25), 7])
    torch.testing.assert_close(
        decoder_logits(model, warm.cache), decoder_logits(model, alone.cache), atol=2e-5, rtol=1e-4
    )


def test_a_failed_encoding_leaves_nothing_half_done(model, monkeypatch):
    warm = PrefixCache(model)
    warm.encode([1, 2, 3, 4])

    def broken(*args, **kwargs):
        raise MemoryError("no room")

    monkeypatch.setattr("palimpsest_engine.model.prefix_cache.encode", broken)
    with pytest.raises(MemoryError):
        warm.encode([1, 2, 9])
    monkeypatch.undo()
    assert warm.tokens == []
    assert warm.encode([1, 2, 9]) == 3


@given(st.lists(st.integers(0, 1), max_size=12), st.lists(st.integers(0, 1), max_size=12), st.integers(0, 3000))
def test_the_common_beginning_is_found_however_long(a, b, before):
    expected = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert common([7] * before + a, [7] * before + b) == before + expected
