"""Experts on quantised weights: what the class says of the weights brought back; kernels through Triton's interpreter."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest
import torch
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaTextExperts

from palimpsest_engine.experts import MATRICES, QuantisedExperts
from palimpsest_engine.quantise import FORMATS, dequantised

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # on the CPU kernels are interpreted
NEAR = {"rtol": 1e-2, "atol": 1e-2} if torch.cuda.is_available() else {"rtol": 1e-4, "atol": 1e-5}  # tf32 on a GPU
EXPERTS, TOP_K = 5, 3


def of_the_class(experts: int = EXPERTS, hidden: int = 80, middle: int = 36) -> DiffusionGemmaTextExperts:
    """Random ones, of sizes that neither a group nor a block divides."""
    config = SimpleNamespace(
        num_experts=experts,
        hidden_size=hidden,
        moe_intermediate_size=middle,
        hidden_activation="gelu_pytorch_tanh",
        _experts_implementation="eager",
    )
    module = DiffusionGemmaTextExperts(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return module


def quantised_of(module, format):
    """The same in a format; and the class's again, its weights those that the format has."""
    quantised = QuantisedExperts(module, format, "cpu")
    for name in MATRICES:
        for expert, weight in enumerate(getattr(module, name)):
            quantised.put(name, expert, weight)
    rounded = of_the_class(module.num_experts, module.hidden_dim, module.intermediate_dim)
    with torch.no_grad():
        for name in MATRICES:
            getattr(rounded, name).copy_(dequantised(quantised.weights(name)))
    return quantised, rounded


def drawn(tokens: int, width: int = 80, dtype=torch.float32):
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, width, generator=generator).to(dtype)
    scores = torch.rand(tokens, EXPERTS, generator=generator)
    weights, index = scores.topk(TOP_K, dim=-1)
    return hidden, index, weights


def only(which: list[int], tokens: int):
    """Every position goes to the same experts; the others have no row."""
    hidden, _, weights = drawn(tokens)
    return hidden, torch.tensor([which] * tokens), weights[:, : len(which)]


ROUTINGS = {
    "uneven": drawn(23),
    "one position": drawn(1),
    "one expert has all": only([2], 37),
    "first and last": only([0, 4], 9),
    "whole blocks": only([1], 32),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("routing", ROUTINGS.values(), ids=ROUTINGS)
def test_the_plain_form_is_the_class_on_the_weights_brought_back(format, routing):
    quantised, rounded = quantised_of(of_the_class(), format)
    assert torch.equal(quantised(*routing), rounded(*routing))


@pytest.mark.parametrize("format", FORMATS)
def test_a_weight_put_is_no_further_off_than_the_format_allows_and_no_other_expert_is_touched(format):
    module = of_the_class()
    quantised, _ = quantised_of(module, format)
    before = quantised.weights("down_proj").codes.clone()
    quantised.put("down_proj", 3, module.down_proj[3] * 2)
    assert quantised.off("down_proj", 3, module.down_proj[3] * 2) <= 1.001
    assert quantised.off("down_proj", 3, module.down_proj[2]) > 5
    kept = [0, 1, 2, 4]
    assert torch.equal(quantised.weights("down_proj").codes[kept].view(torch.uint8), before[kept].view(torch.uint8))


def by_kernels(quantised, hidden, index, weights, block_m=None):
    from palimpsest_engine.kernels.experts import grouped_experts

    there = quantised.to(DEVICE)
    inputs = (each.to(DEVICE) for each in (hidden, index, weights))
    found = grouped_experts(*inputs, there.weights("gate_up_proj"), there.weights("down_proj"), block_m).cpu()
    quantised.to("cpu")
    return found


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("routing", ROUTINGS.values(), ids=ROUTINGS)
@needs_triton
def test_the_kernels_say_what_the_plain_form_says(format, routing):
    quantised, rounded = quantised_of(of_the_class(), format)
    found = by_kernels(quantised, *routing, block_m=16)
    torch.testing.assert_close(found, quantised(*routing), **NEAR)
    torch.testing.assert_close(found, rounded(*routing), **NEAR)


@pytest.mark.parametrize("format", FORMATS)
@torch.no_grad()
@needs_triton
def test_the_kernels_in_bfloat16_are_as_near_to_the_truth_as_the_class(format):
    quantised, rounded = quantised_of(of_the_class(), format)
    hidden, index, weights = drawn(23, dtype=torch.bfloat16)
    exact = rounded(hidden.float(), index, weights)
    found = by_kernels(quantised, hidden, index, weights)
    theirs = rounded.to(torch.bfloat16)(hidden, index, weights)
    assert found.dtype == torch.bfloat16
    # The interpreter cuts off what bfloat16 does not have, where a GPU rounds.
    assert (found.float() - exact).norm() < 1.3 * (theirs.float() - exact).norm()


@needs_triton
def test_the_kernels_say_the_same_each_time():
    quantised, _ = quantised_of(of_the_class(), "int4")
    assert torch.equal(by_kernels(quantised, *drawn(23)), by_kernels(quantised, *drawn(23)))


@needs_a_gpu
@needs_triton
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_recorded_follows_the_routing(format):
    from palimpsest_engine.kernels.experts import grouped_experts

    quantised, _ = quantised_of(of_the_class(), format)
    there = quantised.to(DEVICE)
    held = [each.to(DEVICE) for each in drawn(23)]
    weights = there.weights("gate_up_proj"), there.weights("down_proj")
    grouped_experts(*held, *weights)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = grouped_experts(*held, *weights)
    held[1].copy_(torch.tensor([[2, 3, 4]] * 23))
    graph.replay()
    torch.testing.assert_close(out, grouped_experts(*held, *weights), rtol=0, atol=0)


@pytest.mark.parametrize("block_m", [16, 64])
@pytest.mark.parametrize("routing", ROUTINGS.values(), ids=ROUTINGS)
@needs_triton
def test_each_row_is_in_one_block_of_its_expert(routing, block_m):
    from palimpsest_engine.kernels.experts import blocks_for, routed

    index = routing[1]
    rows, table = (each.cpu() for each in routed(index.to(DEVICE), EXPERTS, block_m))
    assert sorted(rows.tolist()) == list(range(index.numel()))
    assert table.shape == (3, blocks_for(index.numel(), EXPERTS, block_m))
    seen = []
    for expert, first, end in table.T.tolist():
        mine = rows[first : min(end, first + block_m)] if first < end else rows[:0]
        assert (index.flatten()[mine.long()] == expert).all()
        seen += mine.tolist()
    assert sorted(seen) == list(range(index.numel()))


def test_another_activation_is_left_to_the_plain_form(monkeypatch):
    monkeypatch.setattr("palimpsest_engine.kernels.usable", lambda device: True)
    module = of_the_class()
    quantised, _ = quantised_of(module, "int8")
    assert quantised.grouped is None
    assert quantised._grouped(torch.device("cuda")) is not None
    quantised.activation = "silu"
    assert quantised._grouped(torch.device("cuda")) is None
