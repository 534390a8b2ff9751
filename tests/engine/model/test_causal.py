"""Left-to-right models say what their class says: in float32 to rounding, in eight bits nearly."""

from __future__ import annotations

import pytest
import torch

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.kept import NOTE, place_of
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.model.families import CAUSAL
from palimpsest_engine.model.forward import encode, head
from palimpsest_engine.model.int8 import Int8Linear, Rounded, available
from palimpsest_engine.model.prefix_cache import PrefixCache

from ..causal import model_of, write_model

IDS = torch.tensor([[3, 50, 7, 91, 14, 14, 200, 33, 256, 80, 12, 5, 119, 60, 44, 8]])
needs_int8 = pytest.mark.skipif(not available(), reason="this torch has no int8 kernel for this processor")


@pytest.fixture(scope="module", params=sorted(CAUSAL))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp(kind) / "model", kind)


@pytest.fixture(scope="module")
def reference(kind):
    with torch.inference_mode():
        return model_of(kind)(IDS).logits[0]


def logits(model, pieces):
    """Of a context encoded in pieces, each behind the last."""
    cache = PrefixCache(model).cache
    return torch.cat([head(model, encode(model, cache, piece))[0] for piece in torch.split(IDS, pieces, dim=1)])


@pytest.mark.parametrize("pieces", [[16], [9, 7], [1] * 16])
def test_float32_is_the_class(folder, reference, pieces):
    model = load(EngineSettings(str(folder), device="cpu", dtype="float32")).model
    torch.testing.assert_close(logits(model, pieces), reference, atol=2e-4, rtol=1e-4)


@needs_int8
@pytest.mark.parametrize("pieces", [[16], [9, 7], [1] * 16])
def test_eight_bits_are_nearly_the_class_and_kept_for_the_next_time(folder, reference, pieces):
    first = load(EngineSettings(str(folder), device="cpu"))
    again = load(EngineSettings(str(folder), device="cpu"))
    assert first.number_format == "float32, multiplied in int8"
    assert (place_of(folder) / NOTE).is_file()
    torch.testing.assert_close(logits(again.model, pieces), logits(first.model, pieces))
    error = (logits(first.model, pieces) - reference).norm() / reference.norm()
    assert error < 0.05


@needs_int8
def test_each_row_is_rounded_as_if_it_were_alone():
    torch.manual_seed(1)
    weight, rows = torch.randn(24, 40), torch.randn(300, 40) * torch.logspace(-3, 3, 300)[:, None]
    linear = Int8Linear(Rounded.of(weight), torch.randn(24))
    whole = linear(rows)
    alone = torch.cat([linear(row[None]) for row in rows])
    torch.testing.assert_close(whole, alone)
    exact = torch.nn.functional.linear(rows, weight, linear.bias)
    assert ((whole - exact).norm(dim=1) / exact.norm(dim=1)).max() < 0.03


@needs_int8
def test_a_row_of_zeros_is_its_bias():
    linear = Int8Linear(Rounded.of(torch.randn(6, 8)), torch.arange(6.0))
    torch.testing.assert_close(linear(torch.zeros(2, 8)), torch.arange(6.0).expand(2, 6))


@pytest.mark.parametrize("length", [0, 3, 9, 15])
def test_a_cache_rolls_back_exactly(folder, length):
    model = load(EngineSettings(str(folder), device="cpu", dtype="float32")).model
    cache, ids = PrefixCache(model), IDS[0].tolist()
    cache.encode(ids)
    cache.encode([*ids[:length], 7, 9])
    fresh = PrefixCache(model)
    fresh.encode([*ids[:length], 7, 9])
    token = torch.tensor([[42]])
    torch.testing.assert_close(
        encode(model, cache.cache, token), encode(model, fresh.cache, token), atol=1e-5, rtol=1e-4
    )
