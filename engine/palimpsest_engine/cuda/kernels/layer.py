# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-untyped, import-not-found"
# ruff: noqa: ANN001, ANN202
"""Compute everything between the matrix products of a layer, in one kernel each; `fused_layers.py` joins them.

At a canvas of 256 positions none of it takes longer than starting it, so there is to be as little of it as possible: a
layer of the class starts some 150 kernels, most for norms. Norms are taken in float32, and what the class rounds in between
is rounded here, too. A program works on one row; rows are as long as a register file can hold.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _unit(row, width, eps):
    """Divide a row by the root of its mean square."""
    return row * tl.rsqrt(tl.sum(row * row, 0) / width + eps)


@triton.jit
def _read(pointer, at, inside):
    return tl.load(pointer + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _rounded(row, like):
    """Round to the format that a pointer points to."""
    return row.to(like.dtype.element_ty).to(tl.float32)


@triton.jit
def _norm(hidden, scale, out, width, eps, size: tl.constexpr):
    at = tl.arange(0, size)
    inside = at < width
    row = tl.program_id(0).to(tl.int64) * width
    normed = _unit(_read(hidden + row, at, inside), width, eps) * _read(scale, at, inside)
    tl.store(out + row + at, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _heads(
    projected, cosines, sines, query_scale, key_scale, query, key, value, batch, length, eps,
    heads: tl.constexpr, groups: tl.constexpr, keys_are_values: tl.constexpr, width: tl.constexpr, size: tl.constexpr,
):  # fmt: skip
    """Norm one head of one position, rotate it unless it is a value, and write it where the attention reads it."""
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row, place = token // length, token % length
    at = tl.arange(0, size)
    inside = at < width
    stored: tl.constexpr = heads + groups * (1 if keys_are_values else 2)
    source = head if head < stored else head - groups
    start = projected + (token * stored + source) * width
    states = _read(start, at, inside)
    mean = tl.sum(states * states, 0) / width
    if head >= heads + groups:
        group = head - heads - groups
        place_of_value = value + ((row * groups + group) * length + place) * width
        tl.store(place_of_value + at, (states * tl.rsqrt(mean + eps)).to(value.dtype.element_ty), mask=inside)
    else:
        other = tl.where(at < width // 2, at + width // 2, at - width // 2)
        partner = tl.where(at < width // 2, -1.0, 1.0) * _read(start, other, inside)
        scale = query_scale if head < heads else key_scale
        root = tl.rsqrt(mean + eps)
        states = _rounded(states * root * _read(scale, at, inside), projected)
        partner = _rounded(partner * root * _read(scale, other, inside), projected)
        turned = _rounded(states * _read(cosines + place * width, at, inside), projected)
        turned += _rounded(partner * _read(sines + place * width, at, inside), projected)
        if head < heads:
            repeats: tl.constexpr = heads // groups
            group, which = head // repeats, head % repeats
            out = query + (((group * batch + row) * repeats + which) * length + place) * width
        else:
            out = key + ((row * groups + (head - heads)) * length + place) * width
        tl.store(out + at, turned.to(query.dtype.element_ty), mask=inside)


@triton.jit
def _merge(
    before, before_sum, beside, beside_sum, out, batch, length,
    before_group, before_row, sum_group, beside_batch, beside_group, beside_row, own_batch, own_group,
    groups: tl.constexpr, repeats: tl.constexpr, width: tl.constexpr, size: tl.constexpr,
):  # fmt: skip
    """Merge one head of one position: what was seen before the canvas and beside it, each by its share of the softmax."""
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row, place = token // length, token % length
    group, which = head // repeats, head % repeats
    at = tl.arange(0, size)
    inside = at < width
    own = which * length + place
    together = row * repeats * length + own
    one = tl.load(before_sum + group * sum_group + together)
    two = tl.load(beside_sum + row * own_batch + group * own_group + own)
    share = 1.0 / (1.0 + tl.exp(two - one))
    seen = _read(before + group * before_group + together * before_row, at, inside) * share
    seen += _read(beside + row * beside_batch + group * beside_group + own * beside_row, at, inside) * (1.0 - share)
    start = (token * (groups * repeats) + head) * width
    tl.store(out + start + at, seen.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _between(
    attended, hidden, after_attention, before_mlp, before_experts, router_scale, router_root,
    sums, for_mlp, for_experts, for_router, width, eps, size: tl.constexpr,
):  # fmt: skip
    """Compute the sum of the residual and the attention, and that sum normed in three ways."""
    at = tl.arange(0, size)
    inside = at < width
    row = tl.program_id(0).to(tl.int64) * width
    new = _unit(_read(attended + row, at, inside), width, eps) * _read(after_attention, at, inside)
    total = _rounded(_read(hidden + row, at, inside) + _rounded(new, hidden), hidden)
    tl.store(sums + row + at, total.to(sums.dtype.element_ty), mask=inside)
    unit = _unit(total, width, eps)
    mlp = unit * _read(before_mlp, at, inside)
    tl.store(for_mlp + row + at, mlp.to(for_mlp.dtype.element_ty), mask=inside)
    experts = unit * _read(before_experts, at, inside)
    tl.store(for_experts + row + at, experts.to(for_experts.dtype.element_ty), mask=inside)
    router = _rounded(_rounded(unit, hidden) * _read(router_scale, at, inside), hidden) * router_root
    tl.store(for_router + row + at, router.to(for_router.dtype.element_ty), mask=inside)


@triton.jit
def _route(scores, expert_scale, weights, index, experts, most: tl.constexpr, size: tl.constexpr):
    """Return the experts of one position, likeliest first, and what each counts: a softmax over those alone, times its
    scale."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, size)
    left = tl.load(scores + row * experts + at, mask=at < experts, other=-float("inf")).to(tl.float32)
    highest = tl.max(left, 0)
    whole = 0.0
    for _ in tl.static_range(most):
        top = tl.max(left, 0)
        whole += tl.exp(top - highest)
        chosen = tl.min(tl.where(left == top, at, size), 0)
        left = tl.where(at == chosen, -float("inf"), left)
    left = tl.load(scores + row * experts + at, mask=at < experts, other=-float("inf")).to(tl.float32)
    for place in tl.static_range(most):
        top = tl.max(left, 0)
        chosen = tl.min(tl.where(left == top, at, size), 0)
        left = tl.where(at == chosen, -float("inf"), left)
        weight = tl.exp(top - highest) / whole * tl.load(expert_scale + chosen).to(tl.float32)
        tl.store(weights + row * most + place, weight.to(weights.dtype.element_ty))
        tl.store(index + row * most + place, chosen.to(tl.int64))


@triton.jit
def _activate(both, out, width, size: tl.constexpr):
    """Compute the gate's tanh-approximated GELU times the other half."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * size + tl.arange(0, size)
    inside = at < width
    gate = _read(both + row * 2 * width, at, inside)
    inner = 0.7978845608028654 * (gate + 0.044715 * gate * gate * gate)
    gate = gate / (1.0 + tl.exp(-2.0 * inner))  # (1 + tanh x) / 2 is the logistic function of 2 x
    through = _rounded(gate, both) * _read(both + row * 2 * width + width, at, inside)
    tl.store(out + row * width + at, through.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _end(
    dense, mixed, sums, after_mlp, after_experts, after_both, layer_scalar, out, width, eps, size: tl.constexpr,
):  # fmt: skip
    """Join the two branches to the input of the next layer."""
    at = tl.arange(0, size)
    inside = at < width
    row = tl.program_id(0).to(tl.int64) * width
    one = _unit(_read(dense + row, at, inside), width, eps) * _read(after_mlp, at, inside)
    two = _unit(_read(mixed + row, at, inside), width, eps) * _read(after_experts, at, inside)
    both = _rounded(_rounded(one, sums) + _rounded(two, sums), sums)
    both = _rounded(_unit(both, width, eps) * _read(after_both, at, inside), sums)
    total = _rounded(_read(sums + row, at, inside) + both, sums) * tl.load(layer_scalar).to(tl.float32)
    tl.store(out + row + at, total.to(out.dtype.element_ty), mask=inside)


def _shape(width: int) -> dict[str, int]:
    size = triton.next_power_of_2(width)
    return {"size": size, "num_warps": 4 if size <= 2048 else 8}


def norm(hidden: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Return `hidden [N, d]` normed, times `scale [d]`."""
    out = torch.empty_like(hidden)
    _norm[(hidden.shape[0],)](hidden, scale, out, hidden.shape[1], eps, **_shape(hidden.shape[1]))
    return out


def heads(
    projected: Tensor,
    turns: tuple[Tensor, Tensor],
    scales: tuple[Tensor, Tensor],
    batch: int,
    groups: int,
    keys_are_values: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query `[G, B, R, T, D]`, key and value `[B, G, T, D]` of `projected [B T, (G R + 2 G) D]`: the heads of
    queries, keys and values, or those of queries and keys alone if they are values, too. turns: cosines and sines `[1, T,
    D]`. scales `[D]`: those of the norms of queries and keys."""
    length, width = turns[0].shape[1:]
    queries = projected.shape[1] // width - groups * (1 if keys_are_values else 2)
    query = projected.new_empty(groups, batch, queries // groups, length, width)
    key, value = (projected.new_empty(batch, groups, length, width) for _ in range(2))
    _heads[(batch * length, queries + 2 * groups)](
        projected, *turns, *scales, query, key, value, batch, length, eps,
        heads=queries, groups=groups, keys_are_values=keys_are_values, width=width, **_shape(width),
    )  # fmt: skip
    return query, key, value


def merge(before: Tensor, before_sum: Tensor, beside: Tensor, beside_sum: Tensor, length: int) -> Tensor:
    """Return `[B, T, H D]` of two parts of an attention and the logs of what their softmaxes were divided by: before `[1,
    G, B R T, D]`, sum `[1, G, B R T]`; beside `[B, G, R T, D]`, sum `[B, G, R T]`. T is the length."""
    batch, groups, rows, width = beside.shape
    repeats = rows // length
    assert before.stride(3) == beside.stride(3) == before_sum.stride(2) == beside_sum.stride(2) == 1
    out = beside.new_empty(batch, length, groups * repeats * width)
    _merge[(batch * length, groups * repeats)](
        before, before_sum, beside, beside_sum, out, batch, length,
        before.stride(1), before.stride(2), before_sum.stride(1), *beside.stride()[:3], *beside_sum.stride()[:2],
        groups=groups, repeats=repeats, width=width, **_shape(width),
    )  # fmt: skip
    return out


def between(
    attended: Tensor, hidden: Tensor, scales: tuple[Tensor, Tensor, Tensor, Tensor], root: float, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return hidden + norm(attended), `[N, d]`, and that normed for the dense path, the experts and the router. scales
    `[d]`: of the norms after the attention, before the dense path and before the experts, and the router's own, times its
    root."""
    sums, for_mlp, for_experts, for_router = (torch.empty_like(hidden) for _ in range(4))
    rows, width = hidden.shape
    _between[(rows,)](
        attended, hidden, *scales, root, sums, for_mlp, for_experts, for_router, width, eps, **_shape(width)
    )
    return sums, for_mlp, for_experts, for_router


def route(scores: Tensor, expert_scale: Tensor, most: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return (index `[N, K]`, weights `[N, K]`) of the K likeliest experts by `scores [N, E]`; their softmax, times their
    scale."""
    rows, experts = scores.shape
    weights = torch.empty(rows, most, dtype=dtype, device=scores.device)
    index = torch.empty(rows, most, dtype=torch.int64, device=scores.device)
    _route[(rows,)](scores, expert_scale, weights, index, experts, most=most, size=triton.next_power_of_2(experts))
    return index, weights


def activate(both: Tensor) -> Tensor:
    """Return gelu(gate) * up, `[N, m]`, of `both [N, 2 m]`; the GELU is the tanh-approximated one."""
    rows, width = both.shape[0], both.shape[1] // 2
    out = both.new_empty(rows, width)
    size = min(1024, triton.next_power_of_2(width))
    _activate[(rows, triton.cdiv(width, size))](both, out, width, size=size)
    return out


def end(
    dense: Tensor, mixed: Tensor, sums: Tensor, scales: tuple[Tensor, Tensor, Tensor], layer_scalar: Tensor, eps: float
) -> Tensor:
    """Return (sums + norm(norm(dense) + norm(mixed))) * layer_scalar, `[N, d]`; the scales `[d]` of those norms, the last
    one's last."""
    out = torch.empty_like(sums)
    rows, width = sums.shape
    _end[(rows,)](dense, mixed, sums, *scales, layer_scalar, out, width, eps, **_shape(width))
    return out
