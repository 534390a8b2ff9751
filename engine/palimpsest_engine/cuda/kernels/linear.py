# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-untyped, import-not-found"
# ruff: noqa: ANN001, ANN202, N803
"""Multiply by a quantised weight, whose codes become bfloat16 in registers only.

`model/quantised_linear.py` has the plain form. Bound by reading the codes as long as there are few rows: a token of a 7B
reads 4.0 GB of them in int4 and 7.1 GB in int8, 15 ms and 26 ms at the 272 GB/s of a small card. Nobody has measured how near
the kernel comes.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from palimpsest_engine.cuda.kernels.moe import as_bytes, product
from palimpsest_engine.model.quantize import GROUPS, Quantised


@triton.jit
def _linear(
    hidden, codes, scales, bias, out, count,
    WIDTH: tl.constexpr, OUTPUTS: tl.constexpr, LINE: tl.constexpr, SCALES: tl.constexpr, BIASED: tl.constexpr,
    FORMAT: tl.constexpr, GROUP: tl.constexpr, DOT: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Multiply; a program for BLOCK_N outputs of BLOCK_M rows. LINE, SCALES: codes and scales of an output."""
    lines = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    real = lines < count
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    column = tl.arange(0, BLOCK_N)
    valid = first + column < OUTPUTS
    sums = product(
        hidden, lines.to(tl.int64) * WIDTH, real, codes + first * LINE, scales + first * SCALES,
        column, valid, WIDTH, FORMAT, GROUP, DOT, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    if BIASED:
        sums += tl.load(bias + first + column, mask=valid, other=0.0).to(tl.float32)[None, :]
    tl.store(
        out + lines.to(tl.int64)[:, None] * OUTPUTS + (first + column)[None, :],
        sums.to(out.dtype.element_ty), mask=real[:, None] & valid[None, :],
    )  # fmt: skip


def linear(hidden: Tensor, weight: Quantised, bias: Tensor | None) -> Tensor:
    """Compute `QuantisedLinear.forward`: hidden `[.., inputs]` in bfloat16 or float32; out `[.., outputs]` in the same."""
    outputs = weight.codes.shape[0]
    rows = hidden.reshape(-1, weight.width).contiguous()
    out = torch.empty(len(rows), outputs, dtype=hidden.dtype, device=hidden.device)
    block_m = int(min(64, max(16, triton.next_power_of_2(len(rows)))))
    block_n = 32 if block_m == 16 else 128  # with few rows there are few programs: more of them read at once
    with torch.cuda.device_of(hidden):  # type: ignore[no-untyped-call]  # kernels start on the current device
        _linear[(triton.cdiv(outputs, block_n), triton.cdiv(len(rows), block_m))](
            rows, as_bytes(weight), weight.scales, out if bias is None else bias, out, len(rows),
            WIDTH=weight.width, OUTPUTS=outputs, LINE=weight.codes.shape[1],
            SCALES=weight.scales.shape[1] if weight.format in GROUPS else 1, BIASED=bias is not None,
            FORMAT=weight.format, GROUP=GROUPS.get(weight.format, 0),
            # Triton's interpreter multiplies numbers in bfloat16 as if they were whole ones.
            DOT=tl.float32 if hidden.dtype == torch.float32 or not hidden.is_cuda else tl.bfloat16,
            BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=128 if block_m <= 32 else 64,
            num_warps=4, num_stages=4 if weight.format == "int4" and block_m <= 32 else 3,
        )  # fmt: skip
    return out.view(*hidden.shape[:-1], outputs)
