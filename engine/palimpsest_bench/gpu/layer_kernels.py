"""The kernels of a layer beside what they say they compute, in float64 and rounded where the class rounds."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-6
Pairs = Iterator[tuple[Tensor, Tensor]]  # (found, wanted in float64)


def some(*shape: int, device: torch.device, dtype: torch.dtype, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Draw random numbers, the same on every device."""
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype).to(device)


def unit(row: Tensor) -> Tensor:
    """Return rows over the root of their mean square."""
    row = row.double()
    return row * (row.square().mean(-1, keepdim=True) + EPS).rsqrt()


def rounded(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Round to a format."""
    return value.to(dtype).double()


def norm(device: torch.device, dtype: torch.dtype, rows: int, width: int) -> Pairs:
    """Compare `norm`."""
    from palimpsest_engine.cuda.kernels import layer

    hidden = some(rows, width, device=device, dtype=dtype)
    scale = some(width, device=device, dtype=dtype, seed=1)
    yield layer.norm(hidden, scale, EPS), unit(hidden) * scale.double()


def heads(
    device: torch.device,
    dtype: torch.dtype,
    batch: int,
    length: int,
    groups: int,
    repeats: int,
    width: int,
    keys_are_values: bool,
) -> Pairs:
    """Compare `heads`."""
    from palimpsest_engine.cuda.kernels import layer

    queries = groups * repeats
    stored = queries + groups * (1 if keys_are_values else 2)
    projected = some(batch * length, stored * width, device=device, dtype=dtype)
    cosines, sines = (some(1, length, width, device=device, dtype=dtype, seed=seed) for seed in (1, 2))
    of_queries, of_keys = (some(width, device=device, dtype=dtype, seed=seed) for seed in (3, 4))
    found = layer.heads(projected, (cosines, sines), (of_queries, of_keys), batch, groups, keys_are_values, EPS)
    states = projected.view(batch, length, stored, width)

    def turned(part: Tensor, scale: Tensor) -> Tensor:
        normed = rounded(unit(part) * scale.double(), dtype)
        half = torch.cat((-normed[..., width // 2 :], normed[..., : width // 2]), -1)
        turn = [each.double()[:, :, None] for each in (cosines, sines)]
        return rounded(normed * turn[0], dtype) + rounded(half * turn[1], dtype)

    query = turned(states[:, :, :queries], of_queries).view(batch, length, groups, repeats, width)
    keys, values = states[:, :, queries : queries + groups], states[:, :, stored - groups :]
    wanted = query.permute(2, 0, 3, 1, 4), turned(keys, of_keys).transpose(1, 2), unit(values).transpose(1, 2)
    yield from zip(found, wanted, strict=True)


def merge(
    device: torch.device, dtype: torch.dtype, batch: int, length: int, groups: int, repeats: int, width: int
) -> Pairs:
    """Compare `merge`."""
    from palimpsest_engine.cuda.kernels import layer

    rows = repeats * length
    before = some(1, groups, batch * rows, width, device=device, dtype=dtype)
    beside = some(batch, groups, rows, width, device=device, dtype=dtype, seed=1)
    one = some(1, groups, batch * rows, device=device, dtype=torch.float32, seed=2)
    two = some(batch, groups, rows, device=device, dtype=torch.float32)
    share = torch.sigmoid(one.double().view(groups, batch, rows).transpose(0, 1) - two.double()).unsqueeze(-1)
    whole = before.double().view(groups, batch, rows, width).transpose(0, 1) * share + beside.double() * (1 - share)
    wanted = whole.reshape(batch, groups * repeats, length, width).transpose(1, 2).flatten(2)
    yield layer.merge(before, one, beside, two, length), wanted


def between_and_end(device: torch.device, dtype: torch.dtype, rows: int, width: int) -> Pairs:
    """Compare `between` and `end`."""
    from palimpsest_engine.cuda.kernels import layer

    one, two, three = (some(rows, width, device=device, dtype=dtype, seed=seed) for seed in range(3))
    first, second, third, fourth = (some(width, device=device, dtype=dtype, seed=seed) for seed in (3, 4, 5, 6))
    total = rounded(two.double() + rounded(unit(one) * first.double(), dtype), dtype)
    router = rounded(rounded(unit(total), dtype) * fourth.double(), dtype) * 0.3
    wanted = total, unit(total) * second.double(), unit(total) * third.double(), router
    yield from zip(layer.between(one, two, (first, second, third, fourth), 0.3, EPS), wanted, strict=True)

    scalar = torch.tensor([0.7], dtype=dtype, device=device)
    both = rounded(unit(one) * first.double(), dtype) + rounded(unit(two) * second.double(), dtype)
    both = rounded(unit(rounded(both, dtype)) * third.double(), dtype)
    found = layer.end(one, two, three, (first, second, third), scalar, EPS)
    yield found, rounded(three.double() + both, dtype) * scalar.double()


def route(device: torch.device, dtype: torch.dtype, rows: int, experts: int, most: int) -> Pairs:
    """Compare `route`: each expert chosen once, likeliest first. Of those alike any may be chosen, so scores are compared."""
    from palimpsest_engine.cuda.kernels import layer

    scores, scale = (
        some(*shape, device=device, dtype=dtype, seed=len(shape)) for shape in ((rows, experts), (experts,))
    )
    index, weights = layer.route(scores, scale, most, torch.float32)
    best = scores.double().topk(most, dim=-1)
    yield scores.gather(1, index), best.values
    yield torch.tensor([len(set(row)) for row in index.tolist()]), torch.full((rows,), float(most)).double()
    yield weights, best.values.softmax(-1) * scale.double()[index]


def activate(device: torch.device, dtype: torch.dtype, rows: int, width: int) -> Pairs:
    """Compare `activate`."""
    from palimpsest_engine.cuda.kernels import layer

    both = some(rows, 2 * width, device=device, dtype=dtype, scale=3.0)
    gate, upper = both.double().chunk(2, -1)
    yield layer.activate(both), rounded(F.gelu(gate, approximate="tanh"), dtype) * upper


def off(pairs: Pairs) -> float:
    """Return the largest ‖found - wanted‖ / ‖wanted‖; infinity where something is not finite."""
    worst = 0.0
    for found, wanted in pairs:
        if not bool(found.isfinite().all()):
            return float("inf")
        worst = max(worst, float((found.double() - wanted).norm() / wanted.norm().clamp_min(1e-12)))
    return worst
