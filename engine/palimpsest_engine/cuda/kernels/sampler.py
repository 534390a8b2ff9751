# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-untyped, import-not-found"
# ruff: noqa: ANN001, ANN202
"""Sample the tokens of a denoising step in three launches over raw logits. The plain form in `decoding/sampler.py` defines
the result.

Each row is cut into chunks. The first kernel takes what a softmax needs of each chunk: its highest logit, the sum of the
exponentials below it, and how far below it they lie on average. The second puts the chunks of a row together, and looks
for the drawn token in the one chunk that it falls into. The third writes the probabilities. Logits are capped, scaled and
constrained anew wherever they are read, so that they are never stored in float32.

Nothing here waits for the device, and no shape depends on data: all of it may be recorded as a CUDA graph.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 8192
NEVER = tl.constexpr(torch.finfo(torch.float32).min)
NO_MASS = tl.constexpr(1e-30)  # of a chunk beside the likeliest token: nothing is drawn from it
LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _chunk(logits, forbidden, which, temperature, row, start, vocabulary, stride, cap, size: tl.constexpr):
    """Return the logits of a chunk in float32, capped, scaled and constrained, in units of ln 2: a chance is 2 to their
    power.

    What lies behind the end of the row is forbidden, too.
    """
    at = start + tl.arange(0, size)
    inside = at < vocabulary
    raw = tl.load(logits + row * stride + at, mask=inside, other=0.0).to(tl.float32)
    never = tl.load(forbidden + tl.load(which + row) * vocabulary + at, mask=inside, other=1)
    # tanh x = 1 - 2 / (1 + e^2x), exact at both ends; the hardware's own tanh has eleven bits.
    scale = LOG2_E * cap / tl.load(temperature)
    value = scale - 2.0 * scale / (1.0 + tl.exp2(raw * (2.0 * LOG2_E / cap)))
    return tl.where(never != 0, NEVER, value)


@triton.jit
def _survey(
    logits,
    forbidden,
    which,
    temperature,
    highest,
    likeliest,
    mass,
    below,
    vocabulary,
    stride,
    cap,
    chunks,
    size: tl.constexpr,
):
    """Store, of each chunk of each row, its highest logit and the first place of that; the sum of 2^(logit - highest), and
    that of 2^(logit - highest) (logit - highest)."""
    program = tl.program_id(0).to(tl.int64)
    row, start = program // chunks, (program % chunks).to(tl.int32) * size
    value = _chunk(logits, forbidden, which, temperature, row, start, vocabulary, stride, cap, size)
    top = tl.max(value, 0)
    first = tl.min(tl.where(value == top, tl.arange(0, size), size - 1), 0)
    depth = value - top
    weight = tl.exp2(depth)
    tl.store(highest + program, top)
    tl.store(likeliest + program, tl.minimum(start + first, vocabulary - 1))
    tl.store(mass + program, tl.sum(weight, 0))
    tl.store(below + program, tl.sum(weight * depth, 0))


@triton.jit
def _settle(
    logits,
    forbidden,
    which,
    temperature,
    highest,
    likeliest,
    mass,
    below,
    uniform,
    peak,
    total,
    argmax,
    drawn,
    entropy,
    vocabulary,
    stride,
    cap,
    chunks,
    many: tl.constexpr,
    size: tl.constexpr,
):
    """Store, of each row, out of its chunks: the highest logit and the sum of all 2^(logit - highest), the argmax, the
    entropy, and the token that the row's uniform number draws. many: a power of two, at least the number of chunks."""
    row = tl.program_id(0).to(tl.int64)
    chunk = tl.arange(0, many)
    at = row * chunks + chunk
    there = chunk < chunks
    tops = tl.load(highest + at, mask=there, other=NEVER)
    top = tl.max(tops, 0)
    depth = tops - top
    scale = tl.exp2(depth)
    masses = tl.load(mass + at, mask=there, other=0.0) * scale
    whole = tl.sum(masses, 0)
    below_top = tl.sum(tl.load(below + at, mask=there, other=0.0) * scale + masses * depth, 0)
    first = tl.min(tl.where(tops == top, chunk, chunks - 1), 0)
    tl.store(peak + row, top)
    tl.store(total + row, whole)
    tl.store(entropy + row, tl.maximum((tl.log2(whole) - below_top / whole) * LN_2, 0.0))
    tl.store(argmax + row, tl.load(likeliest + row * chunks + first))
    # The first chunk at which the sum exceeds the number. Rounding may leave none: then the last with any chance.
    sums = tl.cumsum(masses, 0)
    target = tl.load(uniform + row).to(tl.float32) * whole
    reached = tl.min(tl.where((sums > target) & (masses > NO_MASS), chunk, many), 0)
    last = tl.max(tl.where(masses > NO_MASS, chunk, 0), 0)
    chosen = tl.where(reached < many, reached, last)
    before = tl.sum(tl.where(chunk == chosen, sums - masses, 0.0), 0)
    # The token in it, in the same way. What is forbidden has the weight 0, and is taken in neither case.
    start = chosen * size
    value = _chunk(logits, forbidden, which, temperature, row, start, vocabulary, stride, cap, size)
    weight = tl.exp2(value - top)
    place = tl.arange(0, size)
    reached = tl.min(tl.where((tl.cumsum(weight, 0) > target - before) & (weight > 0.0), place, size), 0)
    last = tl.max(tl.where(weight > 0.0, place, 0), 0)
    token = start + tl.where(reached < size, reached, last)
    tl.store(drawn + row, tl.minimum(token, vocabulary - 1))


@triton.jit
def _spread(
    logits,
    forbidden,
    which,
    temperature,
    peak,
    total,
    chances,
    vocabulary,
    stride,
    out_stride,
    cap,
    chunks,
    size: tl.constexpr,
):
    """Store the probabilities of each chunk of each row."""
    program = tl.program_id(0).to(tl.int64)
    row, start = program // chunks, (program % chunks).to(tl.int32) * size
    value = _chunk(logits, forbidden, which, temperature, row, start, vocabulary, stride, cap, size)
    at = start + tl.arange(0, size)
    chance = tl.exp2(value - tl.load(peak + row)) * (1.0 / tl.load(total + row))
    tl.store(chances + row * out_stride + at, chance.to(chances.dtype.element_ty), mask=at < vocabulary)


def fused(
    logits: Tensor,
    chances: Tensor,
    cap: float,
    temperature: float | Tensor,
    forbidden: Tensor | None,
    which: Tensor | None,
    uniform: Tensor,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (argmax, drawn, entropy) `[N]` of raw logits `[N, V]`; their probabilities are written to `chances [N, V]`.

    Arguments as those of `sampler.sample`. chunk: tokens to a program, a power of two, at least 16.
    """
    rows, vocabulary = logits.shape
    device = logits.device

    def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    argmax, drawn = numbers(rows, dtype=torch.int64), numbers(rows, dtype=torch.int64)
    entropy, peak, total = numbers(rows), numbers(rows), numbers(rows)
    if rows == 0:
        return argmax, drawn, entropy
    assert logits.stride(1) == 1 == chances.stride(1), "each row of logits and of chances has to be contiguous"
    if not isinstance(temperature, Tensor):
        temperature = torch.full((), temperature, dtype=torch.float32, device=device)
    if forbidden is None:
        forbidden = torch.zeros(1, vocabulary, dtype=torch.bool, device=device)
    if which is None:
        which = torch.zeros(rows, dtype=torch.int64, device=device)
    size = min(chunk, max(16, triton.next_power_of_2(vocabulary)))
    chunks = triton.cdiv(vocabulary, size)
    highest, mass, below = numbers(rows, chunks), numbers(rows, chunks), numbers(rows, chunks)
    likeliest = numbers(rows, chunks, dtype=torch.int32)
    reads = (logits, forbidden.contiguous().view(torch.uint8), which.contiguous(), temperature)
    parts = (highest, likeliest, mass, below)
    shape: dict[str, Any] = {
        "vocabulary": vocabulary,
        "stride": logits.stride(0),
        "cap": cap,
        "chunks": chunks,
        "size": size,
        "num_warps": 8 if size >= 4096 else 4,
    }
    outs = (peak, total, argmax, drawn, entropy)
    with torch.cuda.device_of(logits):  # type: ignore[no-untyped-call]  # kernels start on the current device
        _survey[(rows * chunks,)](*reads, *parts, **shape)
        _settle[(rows,)](*reads, *parts, uniform.contiguous(), *outs, many=triton.next_power_of_2(chunks), **shape)
        _spread[(rows * chunks,)](*reads, peak, total, chances, out_stride=chances.stride(0), **shape)
    return argmax, drawn, entropy
