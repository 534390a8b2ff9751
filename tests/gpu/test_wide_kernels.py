"""Kernels at the sizes of the 26B: a vocabulary of 262,144 tokens, 128 experts of which 8 are asked."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gpu.conftest import DEVICE, ON_GPU
from palimpsest_engine.cuda.experts import by_kernels
from palimpsest_engine.cuda.kernels.moe import grouped_experts
from palimpsest_engine.cuda.timing import seconds
from palimpsest_engine.decoding.sampler import as_stock, drawn, drawn_at, sample
from palimpsest_engine.model.moe import plain
from palimpsest_engine.model.quantize import FORMATS, as_it_is, quantise

pytestmark = pytest.mark.gpu
STORED = ["none", *FORMATS]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "vocabulary"), [(256, 262_144), (33, 10_007), (1, 4096)] if ON_GPU else [(3, 97)])
def test_sampling(rows, vocabulary, dtype, report):
    """Against the plain form on the same device and the same random numbers."""
    generator = torch.Generator(DEVICE).manual_seed(1)
    logits = (torch.randn(rows, vocabulary, generator=generator, device=DEVICE) * 12).to(dtype)
    uniform = torch.rand(rows, generator=torch.Generator(DEVICE).manual_seed(2), device=DEVICE)
    generator.manual_seed(2)
    ours = sample(logits.clone(), cap=30.0, temperature=0.6, draw=drawn, generator=generator)
    theirs = sample(logits.clone(), cap=30.0, temperature=0.6, draw=lambda chances, _: drawn_at(chances, uniform))
    torch.testing.assert_close(ours.chances, theirs.chances, atol=1e-6, rtol=2e-3)
    torch.testing.assert_close(ours.entropy, theirs.entropy, atol=2e-3, rtol=2e-3)
    where = torch.arange(rows, device=DEVICE)
    # Of two that are alike but for rounding either may be the likeliest.
    torch.testing.assert_close(theirs.chances[where, ours.argmax], theirs.chances.amax(-1), atol=1e-6, rtol=1e-4)
    summed = theirs.chances.double().cumsum(-1)
    assert bool((summed[where, ours.drawn] >= uniform - 1e-4).all())
    assert bool((summed[where, ours.drawn] - theirs.chances[where, ours.drawn] <= uniform + 1e-4).all())
    if ON_GPU and rows == 256:
        for name, draw in (("fused", drawn), ("plain", as_stock)):
            took = min(
                seconds(lambda draw=draw: sample(logits.clone(), cap=30.0, temperature=0.6, draw=draw), 5, DEVICE)
            )
            report(f"sampling {dtype} {name}", f"{1000 * took:.2f} ms")


@pytest.mark.parametrize("format", STORED)
def test_kernels_for_experts_are_chosen(format):
    assert (by_kernels(DEVICE, format) is not None) == ON_GPU


@pytest.fixture(scope="module")
def mixture():
    experts, hidden, middle = (128, 2816, 704) if ON_GPU else (4, 80, 36)
    generator = torch.Generator(DEVICE).manual_seed(1)

    def some(*shape):
        return (torch.randn(*shape, generator=generator, device=DEVICE) * 0.02).bfloat16()

    return some(experts, 2 * middle, hidden), some(experts, hidden, middle)


@pytest.mark.parametrize("format", STORED)
@torch.inference_mode()
def test_experts(mixture, format, report):
    """A canvas of 256, four of them, and an odd number of positions; as near to the exact as the plain form is."""

    def kept(weight):
        if format == "none":
            return as_it_is(weight)
        parts = [quantise(each.float(), format) for each in weight]  # one at a time, as on loading
        first = parts[0]
        codes = torch.stack([each.codes.view(torch.uint8) for each in parts]).view(first.codes.dtype)
        return type(first)(format, codes, torch.stack([each.scales for each in parts]), first.width)

    gate_up, down = (kept(weight) for weight in mixture)
    experts, hidden_size = gate_up.codes.shape[0], gate_up.width
    most = min(8, experts - 1)

    def act(gate):
        return F.gelu(gate, approximate="tanh")

    for positions in (1, 37, 256, 1024) if ON_GPU else (1, 5):
        generator = torch.Generator(DEVICE).manual_seed(positions)
        hidden = torch.randn(positions, hidden_size, generator=generator, device=DEVICE).bfloat16()
        scores = torch.rand(positions, experts, generator=generator, device=DEVICE)
        weights, index = scores.softmax(-1).topk(most, dim=-1)
        found = grouped_experts(hidden, index, weights, gate_up, down)
        exact = plain(hidden.float(), index, weights, gate_up, down, act)
        off = float((found.float() - exact).norm() / exact.norm())
        assert off < 0.02
        assert torch.equal(found, grouped_experts(hidden, index, weights, gate_up, down))
        if ON_GPU and positions >= 256:
            took = min(seconds(lambda: grouped_experts(hidden, index, weights, gate_up, down), 5, DEVICE))  # noqa: B023
            report(f"experts {format}, {positions} positions", f"{1000 * took:.2f} ms, off by {off:.4f}")
