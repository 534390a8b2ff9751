"""A prefix that rows share: what they read is what each would have read from a copy of its own."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.cuda.graphs import Prefixes, unrecorded
from palimpsest_engine.cuda.shared_prefix import Rows, SharedPrefix, make_shared, padded, shared_attention, softmax_part
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import drawn
from palimpsest_engine.model.cpu_layers import grouped_attention
from palimpsest_engine.model.forward import decode, encode
from palimpsest_engine.model.kv_cache import RollbackCache


@given(
    batch=st.integers(1, 4),
    groups=st.sampled_from([1, 2]),
    repeats=st.sampled_from([1, 3]),
    length=st.integers(1, 7),
    past=st.integers(1, 20),
    spare=st.integers(0, 9),
    seed=st.integers(0, 2**31),
)
def test_attention_in_two_parts_equals_attention_at_once(batch, groups, repeats, length, past, spare, seed):
    generator = torch.Generator().manual_seed(seed)

    def some(*shape):
        return torch.randn(*shape, generator=generator) * 2

    width = 8
    query = some(batch, groups * repeats, length, width)
    key, value = some(batch, groups, length, width), some(batch, groups, length, width)
    keys, values = some(1, groups, past + spare, width), some(1, groups, past + spare, width)
    bias = torch.zeros(past + spare)
    bias[past:] = -torch.inf
    whole = [
        torch.cat((theirs[:, :, :past].expand(batch, -1, -1, -1), mine), 2)
        for theirs, mine in ((keys, key), (values, value))
    ]
    expected, _ = grouped_attention(None, query, *whole, None, 0.7)
    ours = shared_attention(query, (key, value, None), (keys, values, bias), 0.7)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


def test_the_library_kernel_for_gpus_has_the_expected_arguments_and_results():
    """Shapes alone: the operator's own shape function, without a GPU."""
    query = torch.empty(1, 8, 514, 256, device="meta", dtype=torch.bfloat16)
    key = torch.empty(1, 8, 1024, 256, device="meta", dtype=torch.bfloat16)
    bias = torch.empty(1024, device="meta", dtype=torch.bfloat16).expand(1, 8, 514, -1)
    out, total, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(query, key, key, bias, True, scale=1.0)
    assert out.shape == query.shape
    assert total[..., :514].shape == query.shape[:3]


@pytest.mark.parametrize(
    ("length", "buffer"), [(0, 512), (1, 512), (512, 512), (513, 1024), (4096, 4096), (4097, 8192)]
)
def test_buffers_are_padded_to_few_lengths(length, buffer):
    assert padded(length) == buffer


@pytest.fixture(scope="module")
def shared_model(model):
    changed = copy.deepcopy(model)
    make_shared(changed)
    return changed


def contexts(model, *lengths):
    for length in lengths:
        cache = RollbackCache.for_config(model.config.text_config)
        encode(model, cache, torch.randint(0, 97, (1, length), generator=torch.Generator().manual_seed(length)))
        yield cache


@pytest.mark.parametrize("batch", [1, 3])
def test_the_decoder_gives_the_same_states_over_a_shared_prefix(model, shared_model, batch):
    """Shorter than the window, longer, and again shorter in the same buffer: nothing of the longer one is left."""
    prefixes = Prefixes(unrecorded)
    for cache in contexts(model, 5, 30, 8, 9, 600):
        tokens = torch.randint(0, 97, (batch, 6), generator=torch.Generator().manual_seed(2))
        chances = torch.rand(4, 97).softmax(-1)
        where = torch.tensor([0, 2, 3, 5])
        expected = decode(model, cache.branch(batch), tokens, where, chances)
        prefix = prefixes.shared(cache)
        ours = decode(shared_model, prefix, tokens, where, chances)
        torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-4)
        own = decode(shared_model, cache.branch(batch), tokens, where, chances)
        torch.testing.assert_close(own, expected, atol=1e-6, rtol=1e-5)  # any other cache as before


def test_denoising_over_a_shared_prefix_ends_in_the_same_tokens(model, shared_model):
    sampling = Sampling(max_steps=6, t_min=0.02, t_max=0.06, entropy_bound=3.0, stability=0, confidence=0.2)
    canvas = Canvas(torch.zeros(3, 9, dtype=torch.long), torch.ones(3, 9, dtype=torch.bool))
    for cache in contexts(model, 7, 40):
        runs = [
            [step.tokens for step in denoise(each, prefix, canvas, sampling, torch.Generator().manual_seed(5), drawn)]
            for each, prefix in ((model, cache.branch(3)), (shared_model, SharedPrefix(cache)))
        ]
        assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_softmax_part_returns_the_log_sum_of_the_scores():
    query, key = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4)
    _, total = softmax_part(query, key, key, None, 0.5)
    torch.testing.assert_close(total, (query @ key.transpose(2, 3) * 0.5).logsumexp(-1))


@settings(max_examples=25, deadline=None)
@given(
    past=st.integers(2, 30),
    kept=st.integers(0, 30),
    batch=st.integers(1, 3),
    pieces=st.lists(st.integers(1, 12), min_size=1, max_size=4),
)
def test_rows_go_on_from_a_prefix_as_from_copies_of_it(model, shared_model, past, kept, batch, pieces):
    """Prefixes shorter and longer than the window, none at all, and tails that grow longer than it."""
    (cache,) = contexts(model, past)
    kept = min(kept, past)
    copies, rows = cache.branch(batch, kept), Rows(cache, kept)
    for seed, length in enumerate(pieces):
        tokens = torch.randint(0, 97, (batch, length), generator=torch.Generator().manual_seed(seed))
        expected = encode(model, copies, tokens)
        torch.testing.assert_close(encode(shared_model, rows, tokens), expected, atol=2e-5, rtol=1e-4)
        assert rows.get_seq_length() == copies.get_seq_length() == kept + sum(pieces[: seed + 1])
    assert cache.get_seq_length() == past
