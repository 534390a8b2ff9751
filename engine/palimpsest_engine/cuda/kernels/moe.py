# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-untyped, import-not-found"
# ruff: noqa: ANN001, ANN201, ANN202, N803, SIM300
"""Compute a mixture of experts in four kernels, on weights that are quantised or not: routing, gate and up, down, and the
sum.

`experts.py` has the plain form. Bound by reading the weights: a canvas of 256 positions reaches all 128 experts of the 26B,
whose weights are 22.8 GB in eight bits and 12.1 GB in four, 4.8 ms and 2.5 ms at the 4.8 TB/s of an H200. So an expert's
rows share each read of its weights, which become bfloat16 in registers only.

Rows (a position and one of its experts) are sorted by expert; an expert's are cut in blocks of BLOCK_M. How many blocks
there are depends on the routing, which the host never looks at: there is a place for each that there could be, and those
that remain empty end at once. Every sum has one order, so that a result is the same each time.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from palimpsest_engine.model.quantize import GROUPS, Quantised

# Four bytes to eight codes in bfloat16, those in their lower halves and those in their upper. 0x43 before a byte below 16
# is 128 more than it in bfloat16; the code is 136 less. The compiler's own way takes three times the instructions, which is
# more than reading the weights takes.
FROM_INT4 = tl.constexpr("""
    {
    .reg .b32 low, high, one, less;
    and.b32 low, $4, 0x0F0F0F0F;
    shr.u32 high, $4, 4;
    and.b32 high, high, 0x0F0F0F0F;
    mov.b32 one, 0x3F803F80;
    mov.b32 less, 0xC308C308;
    prmt.b32 $0, low, 0x43434343, 0x4140;
    prmt.b32 $1, low, 0x43434343, 0x4342;
    prmt.b32 $2, high, 0x43434343, 0x4140;
    prmt.b32 $3, high, 0x43434343, 0x4342;
    fma.rn.bf16x2 $0, $0, one, less;
    fma.rn.bf16x2 $1, $1, one, less;
    fma.rn.bf16x2 $2, $2, one, less;
    fma.rn.bf16x2 $3, $3, one, less;
    }
""")
# Four numbers of e4m3 to bfloat16: each byte to the upper half of its place, all but the sign four to the right, and all of
# it times 2^120.
FROM_FP8 = tl.constexpr("""
    {
    .reg .b32 one, two, more, zero;
    mov.b32 more, 0x7B807B80;
    mov.b32 zero, 0x80008000;
    prmt.b32 one, $2, 0, 0x1404;
    prmt.b32 two, $2, 0, 0x3424;
    and.b32 $0, one, 0x80008000;
    and.b32 $1, two, 0x80008000;
    and.b32 one, one, 0x7F007F00;
    and.b32 two, two, 0x7F007F00;
    shr.u32 one, one, 4;
    shr.u32 two, two, 4;
    or.b32 $0, $0, one;
    or.b32 $1, $1, two;
    fma.rn.bf16x2 $0, $0, more, zero;
    fma.rn.bf16x2 $1, $1, more, zero;
    }
""")


@triton.jit
def _route(index, rows, table, total, blocks, BLOCK_M: tl.constexpr, CHUNK: tl.constexpr, PLACES: tl.constexpr):
    """Route; a program for each expert e. rows: the numbers of its rows, behind those of the experts before it. table [3,
    blocks]: its blocks (expert, first place in rows, end of the expert's places) from place `before // BLOCK_M + e` on.

    The next expert's begin no earlier than its own end: n rows behind `before` have at most
    `(before + n) // BLOCK_M - before // BLOCK_M + 1` blocks. So nobody has to know how many blocks the others have.
    """
    expert = tl.program_id(0)
    before = 0
    count = 0
    for start in range(0, total, CHUNK):
        at = start + tl.arange(0, CHUNK)
        chosen = tl.load(index + at, mask=at < total, other=2147483647).to(tl.int32)
        before += tl.sum((chosen < expert).to(tl.int32), 0)
        count += tl.sum((chosen == expert).to(tl.int32), 0)
    place = before
    for start in range(0, total, CHUNK):
        at = start + tl.arange(0, CHUNK)
        chosen = tl.load(index + at, mask=at < total, other=2147483647).to(tl.int32)
        mine = (chosen == expert).to(tl.int32)
        tl.store(rows + place + tl.cumsum(mine, 0) - 1, at, mask=mine == 1)
        place += tl.sum(mine, 0)
    first = before // BLOCK_M + expert
    number = tl.arange(0, PLACES)
    mine_too = first + number < (before + count) // BLOCK_M + expert + 1
    tl.store(table + first + number, tl.zeros_like(number) + expert, mask=mine_too)
    tl.store(table + blocks + first + number, before + number * BLOCK_M, mask=mine_too)
    tl.store(table + 2 * blocks + first + number, tl.zeros_like(number) + before + count, mask=mine_too)


@triton.jit
def product(
    inputs, at, real, codes, scales, outputs, valid,
    WIDTH: tl.constexpr, FORMAT: tl.constexpr, GROUP: tl.constexpr, DOT: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Return the product `[BLOCK_M, BLOCK_N]` in float32: lines of WIDTH inputs from `inputs + at` on, where real, by some
    outputs of one expert's weight, where valid. DOT: the format in which the two meet; a GPU multiplies float32 with the
    eleven leading bits of each (tf32), which is all that a code has."""
    sums = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    if FORMAT == "int4" or FORMAT == "int4-fine":
        half: tl.constexpr = GROUP // 2 if FORMAT == "int4" else GROUP
        blocks: tl.constexpr = (WIDTH + 2 * half - 1) // (2 * half)
        groups: tl.constexpr = 2 * half * blocks // GROUP
        inner = tl.arange(0, half)
        for block in range(blocks):
            low = block * 2 * half + inner
            high = low + half
            x_low = tl.load(inputs + at[:, None] + low[None, :], mask=real[:, None] & (low < WIDTH)[None, :], other=0.0)
            x_high = tl.load(
                inputs + at[:, None] + high[None, :], mask=real[:, None] & (high < WIDTH)[None, :], other=0.0
            )
            both = tl.load(
                codes + outputs[None, :] * (blocks * half) + (block * half + inner)[:, None],
                mask=valid[None, :], other=0,
            )  # fmt: skip
            if DOT == tl.bfloat16:
                w_low, w_high = tl.inline_asm_elementwise(
                    FROM_INT4, "=&r,=&r,=&r,=&r,r", [both], dtype=(tl.bfloat16, tl.bfloat16), is_pure=True, pack=4
                )
            else:
                w_low = ((both & 15).to(tl.int32) - 8).to(tl.float32)
                w_high = ((both >> 4).to(tl.int32) - 8).to(tl.float32)
            part = tl.dot(x_low.to(DOT), w_low, input_precision="tf32")
            if FORMAT == "int4":  # one scale for both halves
                part = tl.dot(x_high.to(DOT), w_high, part, input_precision="tf32")
                scale = tl.load(scales + outputs * groups + block, mask=valid, other=0.0).to(tl.float32)
                sums += part * scale[None, :]
            else:
                scale = tl.load(scales + outputs * groups + 2 * block, mask=valid, other=0.0).to(tl.float32)
                sums += part * scale[None, :]
                part = tl.dot(x_high.to(DOT), w_high, input_precision="tf32")
                scale = tl.load(scales + outputs * groups + 2 * block + 1, mask=valid, other=0.0).to(tl.float32)
                sums += part * scale[None, :]
    else:
        inner = tl.arange(0, BLOCK_K)
        for start in range(0, WIDTH, BLOCK_K):
            along = start + inner
            x = tl.load(inputs + at[:, None] + along[None, :], mask=real[:, None] & (along < WIDTH)[None, :], other=0.0)
            code = tl.load(
                codes + outputs[None, :] * WIDTH + along[:, None],
                mask=valid[None, :] & (along < WIDTH)[:, None], other=0,
            )  # fmt: skip
            # Sign, exponent and digits of e4m3 to where the wider number has them, whose exponent counts from 127 instead of
            # 7. Not Triton's own type, which no GPU before Ada has.
            if FORMAT == "fp8" and DOT == tl.bfloat16:
                level = tl.inline_asm_elementwise(
                    FROM_FP8, "=&r,=&r,r", [code], dtype=tl.bfloat16, is_pure=True, pack=4
                )
            elif FORMAT == "fp8":
                bits = code.to(tl.uint32)
                bits = ((bits & 128) << 24) | ((bits & 127) << 20)
                level = bits.to(tl.float32, bitcast=True) * 1329227995784915872903807060280344576.0  # 2^120
            elif FORMAT == "int8":
                level = code.to(tl.float32)  # the compiler finds the short way to bfloat16 itself
            else:
                level = code
            sums = tl.dot(x.to(DOT), level.to(DOT), sums, input_precision="ieee" if FORMAT == "none" else "tf32")
        if FORMAT != "none":
            sums *= tl.load(scales + outputs, mask=valid, other=0.0)[None, :]
    return sums


@triton.jit
def _gate_up(
    hidden, codes, scales, out, rows, table, blocks, expert_codes, expert_scales,
    WIDTH: tl.constexpr, MIDDLE: tl.constexpr, TOP_K: tl.constexpr,
    FORMAT: tl.constexpr, GROUP: tl.constexpr, DOT: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute gate and up; a program for BLOCK_N / 2 columns of `gelu(gate) * up [rows, MIDDLE]` and a block of rows; out
    is in their order."""
    block = tl.program_id(1)
    expert = tl.load(table + block).to(tl.int64)
    first, end = tl.load(table + blocks + block), tl.load(table + 2 * blocks + block)
    if first >= end:
        return
    lines = first + tl.arange(0, BLOCK_M)
    real = lines < end
    at = (tl.load(rows + lines, mask=real, other=0) // TOP_K).to(tl.int64) * WIDTH
    pair = tl.arange(0, BLOCK_N)
    column = tl.program_id(0) * (BLOCK_N // 2) + pair // 2  # a gate beside its up
    sums = product(
        hidden, at, real, codes + expert * expert_codes, scales + expert * expert_scales,
        column + (pair % 2) * MIDDLE, column < MIDDLE, WIDTH, FORMAT, GROUP, DOT, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    gate, up = tl.split(tl.reshape(sums, (BLOCK_M, BLOCK_N // 2, 2)))
    # gelu with tanh, as (1 + tanh(x)) / 2 is the sigmoid of 2x
    value = gate * tl.sigmoid(1.5957691216057308 * (gate + 0.044715 * gate * gate * gate)) * up
    columns = tl.program_id(0) * (BLOCK_N // 2) + tl.arange(0, BLOCK_N // 2)
    tl.store(
        out + lines.to(tl.int64)[:, None] * MIDDLE + columns[None, :],
        value.to(out.dtype.element_ty), mask=real[:, None] & (columns < MIDDLE)[None, :],
    )  # fmt: skip


@triton.jit
def _down(
    middle, codes, scales, out, rows, table, blocks, expert_codes, expert_scales,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, FORMAT: tl.constexpr, GROUP: tl.constexpr, DOT: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute down; a program for BLOCK_N columns of what each row adds to its position, `[rows, HIDDEN]` in float32, and a
    block of rows; out is by the rows' numbers."""
    block = tl.program_id(1)
    expert = tl.load(table + block).to(tl.int64)
    first, end = tl.load(table + blocks + block), tl.load(table + 2 * blocks + block)
    if first >= end:
        return
    lines = first + tl.arange(0, BLOCK_M)
    real = lines < end
    column = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    sums = product(
        middle, lines.to(tl.int64) * WIDTH, real, codes + expert * expert_codes, scales + expert * expert_scales,
        column, column < HIDDEN, WIDTH, FORMAT, GROUP, DOT, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    row = tl.load(rows + lines, mask=real, other=0).to(tl.int64)
    tl.store(out + row[:, None] * HIDDEN + column[None, :], sums, mask=real[:, None] & (column < HIDDEN)[None, :])


@triton.jit
def _sum(parts, weights, out, HIDDEN: tl.constexpr, TOP_K: tl.constexpr, BLOCK: tl.constexpr):
    """Sum a position's experts by their weights; a program for a position and BLOCK columns."""
    position = tl.program_id(1).to(tl.int64)
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sums = tl.zeros((BLOCK,), tl.float32)
    for k in tl.static_range(TOP_K):
        part = tl.load(parts + (position * TOP_K + k) * HIDDEN + column, mask=column < HIDDEN, other=0.0)
        sums += part * tl.load(weights + position * TOP_K + k).to(tl.float32)
    tl.store(out + position * HIDDEN + column, sums.to(out.dtype.element_ty), mask=column < HIDDEN)


def blocks_for(rows: int, experts: int, block_m: int) -> int:
    """Return the number of places in the table of blocks: as many as there could be for any routing."""
    return rows // block_m + experts


def block_rows(rows: int, experts: int) -> int:
    """Return the rows of a block: about as many as an expert has, and at least what a matrix unit takes. More would be
    computed for nothing; with fewer, weights would be read more often."""
    return int(min(64, max(16, triton.next_power_of_2(-(-rows // experts)))))


def routed(index: Tensor, experts: int, block_m: int) -> tuple[Tensor, Tensor]:
    """Return (rows `[T * K]` sorted by expert, table `[3, blocks]`) of `index [T, K]`, int32; see `_route`."""
    total = index.numel()
    blocks = blocks_for(total, experts, block_m)
    rows = torch.empty(total, dtype=torch.int32, device=index.device)
    table = torch.empty(3, blocks, dtype=torch.int32, device=index.device)
    chunk = min(1024, triton.next_power_of_2(total))
    places = triton.next_power_of_2(total // block_m + 2)
    with torch.cuda.device_of(index):  # type: ignore[no-untyped-call]
        _route[(experts,)](index.contiguous(), rows, table, total, blocks, BLOCK_M=block_m, CHUNK=chunk, PLACES=places)
    return rows, table


def grouped_experts(
    hidden: Tensor, index: Tensor, weights: Tensor, gate_up: Quantised, down: Quantised, block_m: int | None = None
) -> Tensor:
    """Compute `QuantisedExperts.forward` for experts `gate_up [E, 2 * middle, H]`, `down [E, H, middle]` with the
    activation gelu (tanh). hidden `[T, H]` in bfloat16 or float32; out the same. It can be recorded as a CUDA graph."""
    positions, width = hidden.shape
    top_k = index.shape[1]
    experts, middle, total = gate_up.codes.shape[0], down.width, index.numel()
    block_m = block_m or block_rows(total, experts)
    hidden = hidden.contiguous()
    rows, table = routed(index, experts, block_m)
    blocks = table.shape[1]
    inner = torch.empty(total, middle, dtype=hidden.dtype, device=hidden.device)
    parts = torch.empty(total, width, dtype=torch.float32, device=hidden.device)
    out = torch.empty_like(hidden)
    columns = 128
    shape: dict[str, Any] = {
        "FORMAT": gate_up.format,
        "GROUP": GROUPS.get(gate_up.format, 0),
        # Triton's interpreter multiplies numbers in bfloat16 as if they were whole ones.
        "DOT": tl.float32 if hidden.dtype == torch.float32 or not hidden.is_cuda else tl.bfloat16,
        "BLOCK_M": block_m,
        "BLOCK_N": columns,
        "BLOCK_K": 128 if block_m <= 32 and gate_up.format != "none" else 64,
        "num_warps": 4,
        "num_stages": 4 if gate_up.format in ("int4", "none") and block_m <= 32 else 3,
    }
    with torch.cuda.device_of(hidden):  # type: ignore[no-untyped-call]  # kernels start on the current device
        _gate_up[(triton.cdiv(2 * middle, columns), blocks)](
            hidden, as_bytes(gate_up), gate_up.scales, inner, rows, table, blocks,
            gate_up.codes.stride(0), gate_up.scales.stride(0), WIDTH=width, MIDDLE=middle, TOP_K=top_k, **shape,
        )  # fmt: skip
        _down[(triton.cdiv(width, columns), blocks)](
            inner, as_bytes(down), down.scales, parts, rows, table, blocks,
            down.codes.stride(0), down.scales.stride(0), WIDTH=middle, HIDDEN=width, **shape,
        )  # fmt: skip
        _sum[(triton.cdiv(width, 1024), positions)](
            parts, weights.contiguous(), out, HIDDEN=width, TOP_K=top_k, BLOCK=min(1024, triton.next_power_of_2(width))
        )
    return out


def as_bytes(quantised: Quantised) -> Tensor:
    """Return the codes as the kernels read them."""
    return quantised.codes.view(torch.uint8) if quantised.format == "fp8" else quantised.codes
