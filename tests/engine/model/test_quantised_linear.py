"""Linear maps on quantised weights: what torch says of the weights brought back; the kernel through Triton's interpreter."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from palimpsest_engine.cuda import linears
from palimpsest_engine.cuda.linears import by_kernel, give_kernel, trial
from palimpsest_engine.model import quantised_linear
from palimpsest_engine.model.quantised_linear import QuantisedLinear, make_room, plain, quantised_linears
from palimpsest_engine.model.quantize import FORMATS, dequantised, quantise

from ..causal import model_of

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # on the CPU kernels are interpreted
NEAR = {"rtol": 1e-2, "atol": 1e-2} if torch.cuda.is_available() else {"rtol": 1e-4, "atol": 1e-5}  # tf32 on a GPU
OUTPUTS, INPUTS = 36, 80  # neither a group nor a block divides them
SHAPES = [(1, 1), (5,), (2, 3), (70,)]  # of rows


def linear_of(*, biased: bool = True, outputs: int = OUTPUTS, inputs: int = INPUTS) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(inputs, outputs, bias=biased).requires_grad_(False)


def quantised_of(linear, format):
    made = QuantisedLinear(linear, format, "cpu")
    made.put(linear.weight)
    return made


def rows_of(shape, dtype=torch.float32):
    return torch.randn(*shape, INPUTS, generator=torch.Generator().manual_seed(2)).to(dtype)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_plain_form_is_torch_s_product_with_the_weight_brought_back(format, shape, dtype):
    for biased in (True, False):
        made = quantised_of(linear_of(biased=biased).to(dtype), format)
        hidden = rows_of(shape, dtype)
        wanted = F.linear(hidden, dequantised(made.quantised, dtype), made.bias)
        assert torch.equal(made(hidden), wanted)


@pytest.mark.parametrize(("format", "most"), [("int8", 0.01), ("fp8", 0.03), ("int4-fine", 0.075), ("int4", 0.10)])
def test_products_lose_as_little_as_the_weights(format, most):
    linear = linear_of(biased=False, outputs=64, inputs=704)
    linear.weight.normal_(0.0, 0.02)
    hidden = torch.randn(32, 704)
    exact = linear(hidden)
    error = (quantised_of(linear, format)(hidden) - exact).norm() / exact.norm()
    assert (
        most / 3 < error < most * 1.1
    )  # of the weights it is below `most`; products of 704 inputs scatter around that


@pytest.mark.parametrize("format", FORMATS)
def test_a_weight_in_pieces_is_the_weight_at_once_and_never_whole_in_full_precision(format, monkeypatch):
    linear = linear_of()
    whole, hidden = quantised_of(linear, format), rows_of((5,))
    seen = []

    def watched(weight, wanted):
        seen.append(weight.numel())
        return quantise(weight, wanted)

    monkeypatch.setattr(quantised_linear, "PIECE", 3 * INPUTS + 1)
    monkeypatch.setattr(quantised_linear, "quantise", watched)
    made = quantised_of(linear, format)
    assert max(seen) == 3 * INPUTS
    for one, other in ((made.codes, whole.codes), (made.scales, whole.scales)):
        assert torch.equal(one.view(torch.uint8), other.view(torch.uint8))
    torch.testing.assert_close(made(hidden), F.linear(hidden, dequantised(whole.quantised), whole.bias))
    assert made.off(linear.weight) == whole.off(linear.weight)


@pytest.mark.parametrize("format", FORMATS)
def test_another_weight_than_the_one_that_was_put_is_noticed(format):
    linear = linear_of()
    made = quantised_of(linear, format)
    assert made.off(linear.weight) <= 1.001
    assert made.off(linear.weight.flip(0)) > 5


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["qwen2", "starcoder2", "gemma3_text"])
def test_only_embedding_and_vectors_stay_in_full_precision(format, kind):
    model = model_of(kind)
    weights = dict(model.named_parameters())
    made = make_room(model, format, "cpu")
    assert {*quantised_linears(model)} == {*made.values()}
    left = {name for name, tensor in model.named_parameters() if tensor.dim() > 1}
    assert left == {"model.embed_tokens.weight"}  # tied or not: a head that is the embedding is there once
    assert made.keys() == {name for name, tensor in weights.items() if tensor.dim() > 1} - left
    assert ("lm_head.weight" in made) != model.config.tie_word_embeddings
    head = {"fp8": "fp8"}.get(format, "int8")
    assert {name: each.format for name, each in made.items()} == dict.fromkeys(made, format) | (
        {"lm_head.weight": head} if "lm_head.weight" in made else {}
    )


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@needs_triton
def test_the_kernel_equals_the_plain_form(format, shape):
    from palimpsest_engine.cuda.kernels.linear import linear

    for biased in (True, False):
        made, hidden = quantised_of(linear_of(biased=biased), format), rows_of(shape)
        there = made.to(DEVICE)
        found = linear(hidden.to(DEVICE), there.quantised, there.bias)
        torch.testing.assert_close(found, plain(hidden.to(DEVICE), there.quantised, there.bias), **NEAR)


@pytest.mark.parametrize("format", FORMATS)
@needs_triton
def test_a_trial_accepts_the_right_kernel(format):
    from palimpsest_engine.cuda.kernels.linear import linear

    assert trial(DEVICE, format, linear) < 0.02


def wrong(hidden, weight, bias):
    return plain(hidden, weight, None)


def wrong_for_many(hidden, weight, bias):
    return plain(hidden, weight, bias) * (1 if hidden.shape[0] == 1 else torch.nan)


def failing(hidden, weight, bias):
    raise RuntimeError("no such instruction\nand more")


@pytest.mark.parametrize(
    ("kernel", "says"), [(wrong, "are off by"), (wrong_for_many, "are off by"), (failing, "no such instruction")]
)
@needs_triton
def test_a_kernel_that_is_wrong_or_fails_is_not_used(monkeypatch, caplog, kernel, says):
    monkeypatch.setattr("palimpsest_engine.cuda.kernels.usable", lambda device: True)
    monkeypatch.setattr("palimpsest_engine.cuda.kernels.linear.linear", kernel)
    monkeypatch.setattr(
        "palimpsest_engine.cuda.linears.trial", lambda device, *others: trial(torch.device("cpu"), *others)
    )
    assert by_kernel.__wrapped__(torch.device("cuda"), "int4") is None
    assert says in caplog.text
    assert "and more" not in caplog.text


@needs_triton
def test_each_map_gets_the_kernel_of_its_format_and_many_rows_the_plain_form(monkeypatch):
    model = model_of("qwen2")
    make_room(model, "int4", "cpu")
    give_kernel(model)
    assert {each.multiply for each in quantised_linears(model)} == {None}  # there is none on a CPU
    monkeypatch.setattr(linears, "by_kernel", lambda device, format: format)
    give_kernel(model)
    assert {each.multiply == each.format for each in quantised_linears(model)} == {True}

    monkeypatch.setattr("palimpsest_engine.cuda.kernels.linear.linear", lambda *inputs: "kernel")
    monkeypatch.setattr(linears, "MANY", 6)
    made = quantised_of(linear_of(), "int8")
    assert linears.multiply(rows_of((5,)), made.quantised, made.bias) == "kernel"
    assert torch.equal(linears.multiply(rows_of((2, 3)), made.quantised, made.bias), made(rows_of((2, 3))))
