"""The decoder's layers with few kernels: what the class's layers say, through Triton's interpreter."""

from __future__ import annotations

import copy
import importlib.util
from collections import Counter

import pytest
import torch

from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.cuda.experts import make_grouped
from palimpsest_engine.cuda.fused_layers import make_fused, tried
from palimpsest_engine.cuda.shared_prefix import SharedPrefix, make_shared
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import drawn
from palimpsest_engine.model.forward import decode, encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.moe import MATRICES, make_room, paths_of_maps

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


@pytest.fixture(scope="module")
def fused_model(model):
    changed = copy.deepcopy(model)
    make_shared(changed)
    assert make_fused(changed)
    return changed


def context(model, length):
    cache = RollbackCache.for_config(model.config.text_config)
    encode(model, cache, torch.randint(0, 97, (1, length), generator=torch.Generator().manual_seed(length)))
    return cache


def test_fusing_a_second_time_moves_no_weights(fused_model):
    layer = fused_model.model.decoder.layers[0]
    before = layer.fused.qkv.keywords["weight"].data_ptr()
    assert make_fused(fused_model)
    assert layer.fused.qkv.keywords["weight"].data_ptr() == before == layer.self_attn.q_proj.weight.data_ptr()


@pytest.mark.parametrize(("batch", "length", "past"), [(1, 1, 3), (2, 3, 30)])
def test_the_fused_decoder_gives_the_same_states(model, fused_model, batch, length, past):
    cache = context(model, past)
    tokens = torch.randint(0, 97, (batch, length), generator=torch.Generator().manual_seed(2))
    where, chances = torch.tensor([0]), torch.rand(1, 97).softmax(-1)
    expected = decode(model, cache.branch(batch), tokens, where, chances)
    ours = decode(fused_model, SharedPrefix(cache), tokens, where, chances)
    torch.testing.assert_close(ours, expected, atol=5e-5, rtol=1e-4)
    own = decode(fused_model, cache.branch(batch), tokens, where, chances)  # any other cache: the class's layers
    torch.testing.assert_close(own, expected, atol=1e-6, rtol=1e-5)


def test_denoising_ends_in_the_same_tokens(model, fused_model):
    sampling = Sampling(max_steps=2, t_min=0.02, t_max=0.06, entropy_bound=3.0, stability=0, confidence=0.2)
    canvas = Canvas(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool))
    cache = context(model, 12)
    runs = []
    for each, prefix in ((model, cache.branch(2)), (fused_model, SharedPrefix(cache))):
        generator = torch.Generator().manual_seed(5)
        runs.append([step.tokens for step in denoise(each, prefix, canvas, sampling, generator, drawn)])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.fixture
def mixing(monkeypatch):
    """Our kernels for the experts of the class, however long they take here; how often they ran, by the format."""
    from palimpsest_engine.cuda.kernels.moe import grouped_experts

    ran = Counter()

    def counted(hidden, index, weights, gate_up, down):
        ran[gate_up.format] += 1
        return grouped_experts(hidden, index, weights, gate_up, down)

    times = iter([[2.0, 3.0], [1.0, 9.0]])  # the class's, then ours
    monkeypatch.setattr("palimpsest_engine.cuda.experts.by_kernels", lambda device, format: counted)
    monkeypatch.setattr("palimpsest_engine.cuda.experts.seconds", lambda work, runs, device: (work(), next(times))[1])
    return ran


def test_experts_by_kernels_give_the_same_states(model, mixing):
    changed = copy.deepcopy(model)
    make_shared(changed)
    assert make_fused(changed)
    assert mixing == {"none": 1}
    cache = context(model, 12)
    tokens = torch.randint(0, 97, (2, 5), generator=torch.Generator().manual_seed(2))
    where, chances = torch.tensor([0]), torch.rand(1, 97).softmax(-1)
    ours = decode(changed, SharedPrefix(cache), tokens, where, chances)
    assert mixing == {"none": 1 + len(changed.model.decoder.layers)}
    torch.testing.assert_close(ours, decode(model, cache.branch(2), tokens, where, chances), atol=5e-5, rtol=1e-4)


def test_experts_use_the_kernels_only_if_they_are_faster(model, mixing, monkeypatch):
    monkeypatch.setattr("palimpsest_engine.cuda.experts.seconds", lambda work, runs, device: [1.0])
    changed = copy.deepcopy(model)
    make_shared(changed)
    assert make_fused(changed)
    layer = changed.model.decoder.layers[0]
    assert layer.fused.experts is layer.experts


def test_quantised_experts_have_kernels_of_their_own(model, mixing):
    changed = copy.deepcopy(model)
    make_room(changed, "int8", "cpu")
    assert not make_grouped(changed)
    assert not mixing


def test_maps_in_eight_bits_are_joined_and_say_what_the_class_s_layers_say(model):
    """The class's layers call the same maps one by one."""
    changed = copy.deepcopy(model)
    make_room(changed, "int4-small", "cpu")
    fill_quantised(changed, model)
    expected = copy.deepcopy(changed)
    make_shared(changed)
    assert make_fused(changed)
    layer = changed.model.decoder.layers[0]
    assert (
        layer.self_attn.q_proj.codes.untyped_storage().data_ptr()
        == layer.self_attn.k_proj.codes.untyped_storage().data_ptr()
    )
    assert layer.self_attn.q_proj is changed.model.encoder.language_model.layers[0].self_attn.q_proj
    cache = context(expected, 12)
    tokens = torch.randint(0, 97, (2, 5), generator=torch.Generator().manual_seed(2))
    where, chances = torch.tensor([0]), torch.rand(1, 97).softmax(-1)
    ours = decode(changed, SharedPrefix(cache), tokens, where, chances)
    torch.testing.assert_close(ours, decode(expected, cache.branch(2), tokens, where, chances), atol=5e-5, rtol=1e-4)


def fill_quantised(changed, model):
    """Put the weights of a model into another one's experts and maps in fewer bits."""
    for layer, exact in zip(changed.model.decoder.layers, model.model.decoder.layers, strict=True):
        for name in MATRICES:
            for expert, weight in enumerate(getattr(exact.experts, name)):
                layer.experts.put(name, expert, weight)
        for path in paths_of_maps(exact):
            layer.get_submodule(path).put(exact.get_submodule(path).weight)


def test_fused_layers_in_bfloat16_are_nearly_the_same(model):
    """The interpreter cuts numbers off where a GPU rounds them, so that here they are further off than there."""
    changed = copy.deepcopy(model)
    for parameter in changed.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    make_shared(changed)
    assert make_fused(changed)
    assert max(tried(changed, changed.model.decoder.layers)) < 0.02


def test_wrong_fused_layers_are_not_used(model, caplog, monkeypatch):
    changed = copy.deepcopy(model)
    make_shared(changed)
    monkeypatch.setattr(
        "palimpsest_engine.cuda.fused_layers.fused_layer", lambda layer, hidden, rope, mask, cache: hidden * 2
    )
    assert not make_fused(changed)
    assert "left to the class" in caplog.text
    assert "forward" not in vars(changed.model.decoder.layers[0])


def test_fused_layers_that_do_not_compile_are_not_used(model, caplog, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("PassManager::run failed")

    changed = copy.deepcopy(model)
    make_shared(changed)
    monkeypatch.setattr("palimpsest_engine.cuda.kernels.layer.norm", broken)
    assert not make_fused(changed)
    assert "PassManager::run failed" in caplog.text
