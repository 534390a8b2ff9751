"""The passes are transformers' Qwen2's, to rounding; an adapter changes the canvas and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from palimpsest_train.denoiser.base import Shape, random_base
from palimpsest_train.denoiser.network import Adapter, Network, seen_by

from .stock import MASK, as_base, stock_model


@pytest.fixture
def stock():
    return stock_model()


def canvas(network, ids, context, visible, adapter, causal):
    """Logits of the tokens from the 16th on as one canvas, which sees `visible` tokens of a context of 16."""
    length = ids.shape[1] - 15
    seen = torch.full((len(ids), length), visible)
    segments = torch.zeros(len(ids), length, dtype=torch.long)
    positions = torch.arange(15, 15 + length).expand(len(ids), -1)
    bias = seen_by(seen, segments, context.hidden.shape[1], network.dtype, causal)
    hidden = network.canvas(ids[:, 15:], positions, bias, context, adapter)
    return network.logits(hidden.flatten(0, 1), adapter).view(len(ids), length, -1)[..., :MASK]


def test_both_passes_are_those_of_transformers(stock):
    network = Network(as_base(stock))
    ids = torch.randint(0, MASK, (2, 24), generator=torch.Generator().manual_seed(1))
    expected = stock(ids).logits[..., :MASK]
    whole = network.context(ids)
    found = network.logits(whole.hidden.flatten(0, 1), None).view(2, 24, -1)[..., :MASK]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    padded = torch.cat((ids[:, :16], torch.zeros(2, 8, dtype=torch.long)), 1)
    found = canvas(network, ids, network.context(padded), 15, None, causal=True)
    torch.testing.assert_close(found, expected[:, 15:], rtol=1e-4, atol=1e-5)


def test_a_new_adapter_changes_nothing_and_a_trained_one_only_the_canvas(stock):
    network = Network(as_base(stock))
    ids = torch.randint(0, MASK - 1, (2, 24), generator=torch.Generator().manual_seed(1))
    context = network.context(ids)
    adapter = Adapter(network.base, 2, 4.0, filler=MASK - 1)
    with torch.no_grad():
        plain = canvas(network, ids, context, 16, None, causal=False)
        same = canvas(network, ids, context, 16, adapter, causal=False)
        torch.testing.assert_close(same, plain, rtol=1e-4, atol=1e-4)
        for name, parameter in adapter.pairs.items():
            if name.endswith("-up"):
                parameter.normal_()
        assert not torch.allclose(canvas(network, ids, context, 16, adapter, causal=False), plain)
        torch.testing.assert_close(network.context(ids).hidden, context.hidden)


def test_a_canvas_sees_itself_and_the_context_before_it():
    base = random_base(Shape(2, 32, 2, 1, 16, 48), np.arange(50), 49, "cpu", torch.float32)
    for layer in base.layers:
        layer.qkv.mul_(20)
    network = Network(base)
    generator = torch.Generator().manual_seed(2)
    context, ids = (
        torch.randint(0, 49, (1, 16), generator=generator),
        torch.randint(0, 49, (1, 16), generator=generator),
    )
    positions = torch.arange(16)[None]
    segments = torch.tensor([[0] * 8 + [1] * 8])
    seen = torch.tensor([[4] * 8 + [9] * 8])
    bias = seen_by(seen, segments, 16, torch.float32)

    def hidden(context, ids):
        return network.canvas(ids, positions, bias, network.context(context), None)[0]

    first = hidden(context, ids)
    other = ids.clone()
    other[0, 15] = (ids[0, 15] + 1) % 49
    changed = hidden(context, other)
    torch.testing.assert_close(changed[:8], first[:8])  # another canvas
    assert not torch.allclose(changed[8], first[8])  # to the left, in its own
    other = context.clone()
    other[0, 6] = (context[0, 6] + 1) % 49
    changed = hidden(other, ids)
    torch.testing.assert_close(changed[:8], first[:8])  # context after its start
    assert not torch.allclose(changed[8:], first[8:])
