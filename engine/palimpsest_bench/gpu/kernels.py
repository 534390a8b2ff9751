"""Times single kernels at the sizes of the 26B and of a 7B, and compares the time with the bytes that they have to move."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from palimpsest_bench.engine.hardware import Rates
from palimpsest_bench.gpu.clock import repeated
from palimpsest_bench.gpu.layer_kernels import EPS
from palimpsest_bench.gpu.place import Place
from palimpsest_engine.cuda.shared_prefix import softmax_part
from palimpsest_engine.decoding.sampler import as_stock, sample
from palimpsest_engine.model import moe, quantised_linear
from palimpsest_engine.model.quantize import FORMATS, Format, Quantised, Stored, as_it_is, dequantised, quantise

Items = dict[str, Callable[[Place], dict[str, Any]]]
# Outputs, inputs, and how many there are, of Qwen2.5-Coder 7B.
_MAPS_7B = {
    "queries, out": (3584, 3584, 2 * 28),
    "keys, values": (512, 3584, 2 * 28),
    "gate, up": (18_944, 3584, 2 * 28),
    "down": (3584, 18_944, 28),
    "head": (152_064, 3584, 1),
}
STORED: tuple[Stored, ...] = ("none", *FORMATS)
_ROWS = (1, 4, 16, 64, 256, 1024, 2048)


def of_a_step(place: Place) -> Items:
    """Return what is timed of a step of the 26B; each once a layer, unless it says otherwise."""
    found: Items = {}
    for positions in (256, 1024) if place.on_gpu else (5,):
        for stored in STORED:
            found[f"experts in {stored}, {positions} positions"] = partial(
                of_experts, stored=stored, positions=positions
            )
    found["sampler, once a step"] = partial(of_sampler, fused=True)
    found["sampler, the plain form"] = partial(of_sampler, fused=False)
    found["head, once a step"] = of_head
    found["mean embedding, once a step"] = of_mean_embedding
    found["attention, the prefix"] = of_attention
    return found | {name: partial(timed_kernel, name=name) for name in small_kernels(place)}


def of_a_token(place: Place) -> Items:
    """Return what is timed of the linear maps of a left-to-right 7B, by format."""
    found: Items = {}
    for format in FORMATS:
        for name in _MAPS_7B:
            found[f"{name}, {format}, 1 row"] = partial(of_map, name=name, format=format, rows=1)
    for format in FORMATS:
        for rows in _ROWS[1:] if place.on_gpu else (20,):
            found[f"down, {format}, {rows} rows"] = partial(of_map, name="down", format=format, rows=rows)
    return found


@cache
def rates(place: Place) -> Rates:
    """Return what the device can do at most."""
    return Rates.measured(place.device, torch.bfloat16 if place.on_gpu else torch.float32)


def over_floor(place: Place, found: dict[str, Any], read: int, operations: float = 0.0) -> dict[str, Any]:
    """Add the least time for so many bytes and operations."""
    at_most = rates(place)
    least = 1000 * max(read / at_most.bandwidth, operations / at_most.flops)
    return found | {"floor_ms": least, "gb": read / 1e9, "gb_per_second": read / 1e6 / found["ms"]}


def some(place: Place, *shape: int, scale: float = 1.0) -> Tensor:
    """Draw numbers in bfloat16 on the device."""
    generator = torch.Generator(place.device).manual_seed(len(shape))
    return (torch.randn(*shape, generator=generator, device=place.device) * scale).to(torch.bfloat16)


def times(place: Place) -> int:
    """Return how often a kernel is run in a row."""
    return 20 if place.on_gpu else 1


def stored_as(weight: Tensor, stored: Stored) -> Quantised:
    """Return experts' weights in a format, quantised one at a time, as on loading."""
    if stored == "none":
        return as_it_is(weight)
    parts = [quantise(each.float(), stored) for each in weight]
    codes = torch.stack([each.codes.view(torch.uint8) for each in parts]).view(parts[0].codes.dtype)
    return Quantised(stored, codes, torch.stack([each.scales for each in parts]), parts[0].width)


@cache
def mixture(place: Place, stored: Stored) -> tuple[Quantised, Quantised]:
    """Return the experts of one layer in a format."""
    experts, hidden, middle = (128, 2816, 704) if place.on_gpu else (4, 80, 36)
    gate_up, down = (experts, 2 * middle, hidden), (experts, hidden, middle)
    return stored_as(some(place, *gate_up, scale=0.02), stored), stored_as(some(place, *down, scale=0.02), stored)


def of_experts(place: Place, stored: Stored, positions: int) -> dict[str, Any]:
    """Time the experts of a layer; say how far they are off, too."""
    from palimpsest_engine.cuda.kernels.moe import grouped_experts

    gate_up, down = mixture(place, stored)
    experts, most = gate_up.codes.shape[0], 8 if place.on_gpu else 2
    hidden = some(place, positions, gate_up.width)
    weights, index = some(place, positions, experts).float().softmax(-1).topk(most, dim=-1)
    work = partial(grouped_experts, hidden, index, weights, gate_up, down)
    exact = moe.plain(hidden.float(), index, weights, gate_up, down, partial(F.gelu, approximate="tanh"))
    off = float((work().float() - exact).norm() / exact.norm())
    read = sum(each.codes.nbytes + (0 if stored == "none" else each.scales.nbytes) for each in (gate_up, down))
    operations = 2.0 * positions * most * 3 * gate_up.width * down.width
    return over_floor(place, repeated(work, place.device, place.runs, times(place)), read, operations) | {"off": off}


def of_sampler(place: Place, fused: bool) -> dict[str, Any]:
    """Time the sampler over the logits of a canvas; its own form draws with one random number a row."""
    from palimpsest_engine.cuda.kernels import sampler

    rows, vocabulary = (256, 262_144) if place.on_gpu else (2, 97)
    logits = some(place, rows, vocabulary, scale=12.0)
    chances = torch.empty(rows, vocabulary, dtype=logits.dtype, device=place.device)
    uniform = torch.rand(rows, device=place.device)

    def work() -> Tensor:
        if fused:
            return sampler.fused(logits, chances, 30.0, 0.7, None, None, uniform)[0]
        return sample(logits.clone(), cap=30.0, temperature=0.7, draw=as_stock, dtype=logits.dtype).argmax

    found = repeated(work, place.device, place.runs, times(place) // 4 or 1)
    return over_floor(place, found, logits.nbytes + chances.nbytes)


def of_head(place: Place) -> dict[str, Any]:
    """Time the product that makes the logits of a canvas."""
    rows, width, vocabulary = (256, 2816, 262_144) if place.on_gpu else (2, 16, 97)
    hidden, weight = some(place, rows, width), some(place, vocabulary, width, scale=0.02)
    found = repeated(partial(F.linear, hidden, weight), place.device, place.runs, times(place) // 4 or 1)
    return over_floor(place, found, weight.nbytes + 2 * rows * vocabulary, 2.0 * rows * width * vocabulary)


def of_mean_embedding(place: Place) -> dict[str, Any]:
    """Time the product of probabilities and embeddings, by which a step tells the next one."""
    rows, width, vocabulary = (256, 2816, 262_144) if place.on_gpu else (2, 16, 97)
    chances, weight = some(place, rows, vocabulary), some(place, vocabulary, width, scale=0.02)
    found = repeated(partial(torch.mm, chances, weight), place.device, place.runs, times(place) // 4 or 1)
    return over_floor(place, found, weight.nbytes + chances.nbytes, 2.0 * rows * width * vocabulary)


def of_attention(place: Place) -> dict[str, Any]:
    """Time the attention of a canvas over the prefix, in a layer with a window."""
    groups, queries, width, seen = (8, 512, 256, 1024) if place.on_gpu else (2, 4, 16, 8)
    query, key, value = (some(place, 1, groups, each, width) for each in (queries, seen, seen))
    bias = torch.zeros(seen, dtype=torch.bfloat16, device=place.device)
    work = partial(softmax_part, query, key, value, bias, width**-0.5)
    found = repeated(lambda: work()[0], place.device, place.runs, times(place))
    return over_floor(place, found, key.nbytes + value.nbytes + 2 * query.nbytes, 4.0 * groups * queries * seen * width)


@cache
def small_kernels(place: Place) -> dict[str, tuple[Callable[[], Tensor], int]]:
    """Return the kernels between the products of a layer, and the least bytes of each."""
    from palimpsest_engine.cuda.kernels import layer

    rows, width, dense, head, groups, repeats, experts = (256, 2816, 2112, 256, 8, 2, 128)
    if not place.on_gpu:
        rows, width, dense, head, groups, repeats, experts = (2, 16, 16, 16, 1, 2, 4)
    hidden, gates, heads = some(place, rows, width), some(place, rows, 2 * dense), groups * (repeats + 2)
    scale, of_head, scalar = some(place, width), some(place, head), some(place, 1)
    projected, turns = some(place, rows, heads * head), some(place, 1, rows, head)
    part = some(place, 1, groups, repeats * rows, head)
    total = torch.zeros(1, groups, repeats * rows, device=place.device)
    scores, of_experts = some(place, rows, experts), some(place, experts)
    one, most = hidden.nbytes, min(8, experts)
    return {
        "norm": (lambda: layer.norm(hidden, scale, EPS), 2 * one),
        "heads": (
            lambda: layer.heads(projected, (turns, turns), (of_head, of_head), 1, groups, False, EPS)[0],
            2 * projected.nbytes,
        ),
        "merge": (lambda: layer.merge(part, total, part, total, rows), 3 * part.nbytes),
        "between": (lambda: layer.between(hidden, hidden, (scale,) * 4, 0.02, EPS)[0], 6 * one),
        "route": (lambda: layer.route(scores, of_experts, most, torch.float32)[1], scores.nbytes + 12 * rows * most),
        "activate": (lambda: layer.activate(gates), gates.nbytes * 3 // 2),
        "end": (lambda: layer.end(hidden, hidden, hidden, (scale,) * 3, scalar, EPS), 4 * one),
    }


def timed_kernel(place: Place, name: str) -> dict[str, Any]:
    """Time one of them."""
    work, read = small_kernels(place)[name]
    return over_floor(place, repeated(work, place.device, place.runs, times(place)), read)


def of_map(place: Place, name: str, format: Format, rows: int) -> dict[str, Any]:
    """Time a linear map by the kernel, by the plain form, and by torch in bfloat16; say how far the kernel is off."""
    from palimpsest_engine.cuda.kernels.linear import linear

    outputs, width, count = _MAPS_7B[name]
    if not place.on_gpu:
        outputs, width = 70, 80
    made = a_map(place, outputs, width, format)
    hidden, whole = some(place, rows, width), dequantised(made, torch.bfloat16)
    exact = F.linear(hidden.float(), dequantised(made)) if rows <= _ROWS[3] else F.linear(hidden, whole).float()
    ways: dict[str, Callable[[], Tensor]] = {
        "kernel": partial(linear, hidden, made, None),
        "plain": partial(quantised_linear.plain, hidden, made, None),
        "bfloat16": partial(F.linear, hidden, whole),
    }
    took = {way: repeated(work, place.device, place.runs, times(place) // 4 or 1) for way, work in ways.items()}
    found = over_floor(place, took["kernel"], made.nbytes, 2.0 * rows * outputs * width)
    off = float((ways["kernel"]().float() - exact).norm() / exact.norm())
    return found | {"off": off, "count": count, "rows": rows, "format": format, "ways": took}


@cache
def a_map(place: Place, outputs: int, width: int, format: Format) -> Quantised:
    """Return a random weight in a format."""
    hollow = torch.nn.Linear(width, outputs, bias=False, device="meta")
    made = quantised_linear.QuantisedLinear(hollow, format, place.device)
    made.put(some(place, outputs, width, scale=0.02))
    return made.quantised
