"""Each kernel of a layer against what it says it computes, in float64 and rounded where the class rounds."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gpu.conftest import DEVICE, ON_GPU
from palimpsest_engine.cuda.kernels import layer, usable

pytestmark = pytest.mark.gpu
EPS = 1e-6
TYPES = [torch.float32, torch.bfloat16]
# Rows and widths: a power of two, odd ones, the width of the 26B.
SHAPES = [(1, 16), (3, 33), (7, 80), *([(65, 1000), (256, 2816)] if ON_GPU else [])]


def some(*shape, dtype, seed=0, scale=1.0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype).to(DEVICE)


def unit(row):
    row = row.double()
    return row * (row.square().mean(-1, keepdim=True) + EPS).rsqrt()


def rounded(value, dtype):
    return value.to(dtype).double()


def near(found, wanted):
    """Within some roundings of the format; those of a step before may be amplified."""
    assert found.isfinite().all()
    off = (found.double() - wanted).norm() / wanted.norm().clamp_min(1e-12)
    assert off < (5e-6 if found.dtype == torch.float32 else 0.02 if not ON_GPU else 6e-3), float(off)


def test_triton_is_used_here():
    assert usable(DEVICE)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_norm(rows, width, dtype):
    hidden, scale = some(rows, width, dtype=dtype), some(width, dtype=dtype, seed=1)
    near(layer.norm(hidden, scale, EPS), unit(hidden) * scale.double())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("keys_are_values", [False, True])
@pytest.mark.parametrize(
    ("batch", "length", "groups", "repeats", "width"),
    [
        (1, 1, 1, 1, 16),
        (2, 5, 2, 3, 24),
        (3, 7, 1, 2, 48),
        *([(2, 33, 8, 2, 256), (1, 256, 2, 8, 512)] if ON_GPU else []),
    ],
)
def test_heads(batch, length, groups, repeats, width, keys_are_values, dtype):
    queries = groups * repeats
    stored = queries + groups * (1 if keys_are_values else 2)
    projected = some(batch * length, stored * width, dtype=dtype)
    turns = tuple(some(1, length, width, dtype=dtype, seed=seed) for seed in (1, 2))
    scales = tuple(some(width, dtype=dtype, seed=seed) for seed in (3, 4))
    query, key, value = layer.heads(projected, turns, scales, batch, groups, keys_are_values, EPS)
    states = projected.view(batch, length, stored, width)

    def turned(part, scale):
        normed = rounded(unit(part) * scale.double(), dtype)
        half = torch.cat((-normed[..., width // 2 :], normed[..., : width // 2]), -1)
        cosines, sines = (each.double()[:, :, None] for each in turns)
        return rounded(normed * cosines, dtype) + rounded(half * sines, dtype)

    q = turned(states[:, :, :queries], scales[0]).view(batch, length, groups, repeats, width)
    k, v = states[:, :, queries : queries + groups], states[:, :, stored - groups :]
    near(query, q.permute(2, 0, 3, 1, 4))
    near(key, turned(k, scales[1]).transpose(1, 2))
    near(value, unit(v).transpose(1, 2))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("batch", "length", "groups", "repeats", "width"),
    [(1, 1, 1, 1, 16), (2, 5, 2, 3, 24), *([(3, 33, 8, 2, 256), (1, 256, 2, 8, 512)] if ON_GPU else [])],
)
def test_merge(batch, length, groups, repeats, width, dtype):
    rows = repeats * length
    before = some(1, groups, batch * rows, width, dtype=dtype)
    beside = some(batch, groups, rows, width, dtype=dtype, seed=1)
    one, two = (
        some(1, groups, batch * rows, dtype=torch.float32, seed=2),
        some(batch, groups, rows, dtype=torch.float32),
    )
    found = layer.merge(before, one, beside, two, length)
    share = torch.sigmoid(one.double().view(groups, batch, rows).transpose(0, 1) - two.double()).unsqueeze(-1)
    whole = before.double().view(groups, batch, rows, width).transpose(0, 1) * share + beside.double() * (1 - share)
    near(found, whole.reshape(batch, groups * repeats, length, width).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_between_and_end(rows, width, dtype):
    one, two, three = (some(rows, width, dtype=dtype, seed=seed) for seed in range(3))
    scales = tuple(some(width, dtype=dtype, seed=seed) for seed in (3, 4, 5, 6))
    sums, mlp, experts, router = layer.between(one, two, scales, 0.3, EPS)
    total = rounded(two.double() + rounded(unit(one) * scales[0].double(), dtype), dtype)
    near(sums, total)
    near(mlp, unit(total) * scales[1].double())
    near(experts, unit(total) * scales[2].double())
    near(router, rounded(rounded(unit(total), dtype) * scales[3].double(), dtype) * 0.3)

    scalar = torch.tensor([0.7], dtype=dtype, device=DEVICE)
    found = layer.end(one, two, three, scales[:3], scalar, EPS)
    both = rounded(unit(one) * scales[0].double(), dtype) + rounded(unit(two) * scales[1].double(), dtype)
    both = rounded(unit(rounded(both, dtype)) * scales[2].double(), dtype)
    near(found, rounded(three.double() + both, dtype) * scalar.double())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "experts", "most"), [(1, 4, 2), (5, 7, 3), *([(257, 128, 8)] if ON_GPU else [])])
def test_route(rows, experts, most, dtype):
    """Each chosen once, likeliest first; of those alike any, so scores are what is compared."""
    scores, scale = some(rows, experts, dtype=dtype), some(experts, dtype=dtype, seed=1)
    index, weights = layer.route(scores, scale, most, torch.float32)
    best = scores.double().topk(most, dim=-1)
    assert torch.equal(scores.double().gather(1, index), best.values)
    assert all(len(set(row)) == most for row in index.tolist())
    near(weights, best.values.softmax(-1) * scale.double()[index])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_activate(rows, width, dtype):
    both = some(rows, 2 * width, dtype=dtype, scale=3.0)
    gate, upper = both.double().chunk(2, -1)
    near(layer.activate(both), rounded(F.gelu(gate, approximate="tanh"), dtype) * upper)
