"""Passes at fixed addresses and padded shapes: what comes out is what the plain passes give. Without the recording itself,
which needs a GPU."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.cuda.graphs import BATCHES, GRAPHS, PREFIXES, Prefixes, room_for, unrecorded
from palimpsest_engine.cuda.shared_prefix import make_shared
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import drawn
from palimpsest_engine.model.forward import decode, encode
from palimpsest_engine.model.kv_cache import RollbackCache


@pytest.fixture(scope="module")
def shared_model(model):
    changed = copy.deepcopy(model)
    make_shared(changed)
    return changed


def context(model, length):
    cache = RollbackCache.for_config(model.config.text_config)
    encode(model, cache, torch.randint(0, 97, (1, length), generator=torch.Generator().manual_seed(length)))
    return cache


@given(batch=st.integers(1, 100), length=st.integers(1, 300))
def test_a_buffer_has_room_and_not_too_much(batch, length):
    rows, positions = room_for(batch, length)
    assert batch <= rows <= max(1.5 * batch, batch + 1)
    assert length <= positions < length + 32


@settings(max_examples=15, deadline=None)
@given(shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 60)), min_size=1, max_size=6))
def test_padded_passes_give_the_same_states_after_any_others(model, shared_model, shapes):
    prefixes = Prefixes(unrecorded)
    for seed, (batch, length, past) in enumerate(shapes):
        cache = context(model, past)
        tokens = torch.randint(0, 97, (batch, length), generator=torch.Generator().manual_seed(seed))
        expected = decode(model, cache.branch(batch), tokens, torch.empty(0), None)
        ours = decode(shared_model, prefixes.shared(cache), tokens, torch.empty(0), None)
        torch.testing.assert_close(ours, expected, atol=5e-5, rtol=1e-4)


def test_denoising_goes_on_with_fewer_rows(model, shared_model):
    sampling = Sampling(max_steps=6, t_min=0.02, t_max=0.06, entropy_bound=3.0, stability=0, confidence=0.2)
    canvas = Canvas(torch.zeros(5, 9, dtype=torch.long), torch.ones(5, 9, dtype=torch.bool))
    cache = context(model, 40)
    runs = []
    for each, prefix in ((model, cache.branch(5)), (shared_model, Prefixes(unrecorded).shared(cache))):
        work = denoise(each, prefix, canvas, sampling, torch.Generator().manual_seed(5), drawn)
        runs.append([next(work).tokens, work.send([0, 2, 3]).tokens, next(work).tokens])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_few_prefixes_and_graphs_are_kept(model, shared_model):
    prefixes = Prefixes(unrecorded)
    for past in (5, 600, 1100, 1600, 2100):
        prefix = prefixes.shared(context(model, past))
        for batch in BATCHES[:6]:
            decode(shared_model, prefix, torch.zeros(batch, 4, dtype=torch.long), torch.empty(0), None)
    assert len(prefixes._prefixes) == PREFIXES
    assert len(prefixes._static) <= GRAPHS
    assert {key[0] for key in prefixes._static} <= set(prefixes._prefixes)
    prefixes.forget()
    assert not prefixes._prefixes
    assert not prefixes._static


def test_a_pass_that_cannot_be_recorded_runs_unrecorded(model, shared_model, caplog):
    tries = []

    def refuses(work):
        tries.append(work)
        raise RuntimeError("operation not permitted when stream is capturing")

    prefixes, cache = Prefixes(refuses), context(model, 20)
    tokens = torch.randint(0, 97, (2, 6), generator=torch.Generator().manual_seed(2))
    for _ in range(2):
        ours = decode(shared_model, prefixes.shared(cache), tokens, torch.empty(0), None)
        torch.testing.assert_close(
            ours, decode(model, cache.branch(2), tokens, torch.empty(0), None), atol=2e-5, rtol=1e-4
        )
    assert len(tries) == 1
    assert "cannot be recorded" in caplog.text


def test_out_of_memory_while_recording_is_raised(model, shared_model):
    def full(work):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        decode(
            shared_model,
            Prefixes(full).shared(context(model, 20)),
            torch.zeros(1, 4, dtype=torch.long),
            torch.empty(0),
            None,
        )
