"""Experts on quantised weights: what the class says of the weights brought back; kernels through Triton's interpreter."""

from __future__ import annotations

import copy
import importlib.util
from types import SimpleNamespace

import pytest
import torch
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaTextExperts

from palimpsest_engine.cuda.experts import by_kernels as by_kernels_for
from palimpsest_engine.cuda.experts import give_kernels, trial
from palimpsest_engine.model.moe import MATRICES, QuantisedExperts, make_room, plain, quantised_experts
from palimpsest_engine.model.quantize import FORMATS, as_it_is, dequantised

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
def test_the_plain_form_equals_the_class_on_dequantised_weights(format, routing):
    quantised, rounded = quantised_of(of_the_class(), format)
    assert torch.equal(quantised(*routing), rounded(*routing))


@pytest.mark.parametrize("format", FORMATS)
def test_put_stays_within_the_formats_error_and_touches_no_other_expert(format):
    module = of_the_class()
    quantised, _ = quantised_of(module, format)
    before = quantised.weights("down_proj").codes.clone()
    quantised.put("down_proj", 3, module.down_proj[3] * 2)
    assert quantised.off("down_proj", 3, module.down_proj[3] * 2) <= 1.001
    assert quantised.off("down_proj", 3, module.down_proj[2]) > 5
    kept = [0, 1, 2, 4]
    assert torch.equal(quantised.weights("down_proj").codes[kept].view(torch.uint8), before[kept].view(torch.uint8))


def by_kernels(quantised, hidden, index, weights, block_m=None):
    from palimpsest_engine.cuda.kernels.moe import grouped_experts

    there = quantised.to(DEVICE)
    inputs = (each.to(DEVICE) for each in (hidden, index, weights))
    found = grouped_experts(*inputs, there.weights("gate_up_proj"), there.weights("down_proj"), block_m).cpu()
    quantised.to("cpu")
    return found


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("routing", ROUTINGS.values(), ids=ROUTINGS)
@needs_triton
def test_the_kernels_equal_the_plain_form(format, routing):
    quantised, rounded = quantised_of(of_the_class(), format)
    found = by_kernels(quantised, *routing, block_m=16)
    torch.testing.assert_close(found, quantised(*routing), **NEAR)
    torch.testing.assert_close(found, rounded(*routing), **NEAR)


@pytest.mark.parametrize("routing", ROUTINGS.values(), ids=ROUTINGS)
@needs_triton
def test_the_kernels_on_unquantised_weights_equal_the_class(routing):
    from palimpsest_engine.cuda.kernels.moe import grouped_experts

    module = of_the_class()
    matrices = (as_it_is(getattr(module, name).detach().to(DEVICE)) for name in MATRICES)
    found = grouped_experts(*(each.to(DEVICE) for each in routing), *matrices, 16).cpu()
    torch.testing.assert_close(found, module(*routing), **NEAR)


@pytest.mark.parametrize("format", FORMATS)
@torch.no_grad()
@needs_triton
def test_the_kernels_in_bfloat16_are_as_exact_as_the_class(format):
    quantised, rounded = quantised_of(of_the_class(), format)
    hidden, index, weights = drawn(23, dtype=torch.bfloat16)
    exact = rounded(hidden.float(), index, weights)
    found = by_kernels(quantised, hidden, index, weights)
    theirs = rounded.to(torch.bfloat16)(hidden, index, weights)
    assert found.dtype == torch.bfloat16
    # The interpreter cuts off what bfloat16 does not have, where a GPU rounds.
    assert (found.float() - exact).norm() < 1.3 * (theirs.float() - exact).norm()


@needs_triton
def test_the_kernels_are_deterministic():
    quantised, _ = quantised_of(of_the_class(), "int4")
    assert torch.equal(by_kernels(quantised, *drawn(23)), by_kernels(quantised, *drawn(23)))


@needs_a_gpu
@needs_triton
@pytest.mark.parametrize("format", FORMATS)
def test_a_recorded_graph_follows_the_routing(format):
    from palimpsest_engine.cuda.kernels.moe import grouped_experts

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
    from palimpsest_engine.cuda.kernels.moe import blocks_for, routed

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


def test_another_activation_is_left_to_the_plain_form(model, monkeypatch):
    monkeypatch.setattr("palimpsest_engine.cuda.experts.by_kernels", lambda device, format: "kernels")
    changed = copy.deepcopy(model)
    make_room(changed, "int8", "cpu")
    changed.config.text_config.hidden_activation = "silu"
    give_kernels(changed)
    assert {each.grouped for each in quantised_experts(changed)} == {None}
    changed.config.text_config.hidden_activation = "gelu_pytorch_tanh"
    give_kernels(changed)
    assert {each.grouped for each in quantised_experts(changed)} == {"kernels"}


@pytest.mark.parametrize("format", [*FORMATS, "none"])
@needs_triton
def test_a_trial_accepts_right_kernels(format):
    from palimpsest_engine.cuda.kernels.moe import grouped_experts

    assert trial(DEVICE, format, grouped_experts) < 0.02


def wrong(*inputs):
    return plain(*inputs, lambda gate: gate)


def failing(*inputs):
    raise RuntimeError("no such instruction\nand more")


@pytest.mark.parametrize(("kernels", "says"), [(wrong, "are off by"), (failing, "no such instruction")])
@needs_triton
def test_kernels_that_are_wrong_or_fail_are_not_used(monkeypatch, caplog, kernels, says):
    monkeypatch.setattr("palimpsest_engine.cuda.kernels.usable", lambda device: True)
    monkeypatch.setattr("palimpsest_engine.cuda.kernels.moe.grouped_experts", kernels)
    monkeypatch.setattr(
        "palimpsest_engine.cuda.experts.trial",
        lambda device, format, grouped: trial(torch.device("cpu"), format, grouped),
    )
    by_kernels_of = by_kernels_for.__wrapped__
    assert by_kernels_of(torch.device("cuda"), "int4") is None
    assert says in caplog.text
    assert "and more" not in caplog.text


def emulated(program, inputs, outputs):
    """Run a few instructions of PTX on words: inputs and outputs by the numbers of their operands."""
    words = {f"${number}": value for number, value in inputs.items()}

    def value(operand):
        return words[operand] if operand in words else torch.tensor(int(operand, 0))

    def halves(word):
        parts = torch.stack((word & 0xFFFF, word >> 16), -1)
        return (parts - (parts >= 1 << 15).long() * (1 << 16)).to(torch.int16).view(torch.bfloat16)

    for line in program.split(";"):
        name, _, rest = line.replace("{", "").replace("}", "").strip().partition(" ")
        to, *operands = [operand.strip() for operand in rest.split(",")]
        given = [value(operand) for operand in operands] if name and name != ".reg" else []
        if name == "mov.b32":
            words[to] = given[0]
        elif name in ("and.b32", "or.b32"):
            words[to] = given[0] & given[1] if name == "and.b32" else given[0] | given[1]
        elif name == "shr.u32":
            words[to] = given[0] >> given[1]
        elif name == "prmt.b32":
            eight, chosen = given[0] | given[1] << 32, int(given[2])
            words[to] = sum(((eight >> 8 * (chosen >> 4 * i & 7)) & 0xFF) << 8 * i for i in range(4))
        elif name == "fma.rn.bf16x2":
            one, two, three = (halves(each).double() for each in given)
            parts = (one * two + three).to(torch.bfloat16).view(torch.int16).long() & 0xFFFF
            words[to] = parts[..., 0] | parts[..., 1] << 16
        else:
            assert name in ("", ".reg"), name
    return [halves(words[f"${number}"]) for number in outputs]


@needs_triton
def test_the_instructions_for_four_bits_decode_every_byte():
    from palimpsest_engine.cuda.kernels.moe import FROM_INT4

    numbers = torch.arange(256).view(64, 4)
    words = (numbers << torch.tensor([0, 8, 16, 24])).sum(-1)
    made = emulated(FROM_INT4.value, {4: words}, range(4))
    low, high = torch.cat(made[:2], -1), torch.cat(made[2:], -1)
    assert torch.equal(low.long(), (numbers & 15) - 8)
    assert torch.equal(high.long(), (numbers >> 4) - 8)


@needs_triton
def test_the_instructions_for_fp8_decode_every_byte():
    from palimpsest_engine.cuda.kernels.moe import FROM_FP8

    numbers = torch.arange(256).view(64, 4)
    words = (numbers << torch.tensor([0, 8, 16, 24])).sum(-1)
    made = torch.cat(emulated(FROM_FP8.value, {2: words}, range(2)), -1)
    wanted = numbers.to(torch.uint8).view(torch.float8_e4m3fn).to(torch.bfloat16)
    finite = wanted.isfinite()
    assert finite.sum() == 254
    assert torch.equal(made[finite], wanted[finite])
