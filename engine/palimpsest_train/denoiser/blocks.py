"""Dequantises the block formats of GGUF files with torch, on any device. Knows no model and no file.

Layouts after ggml's `ggml-quants.c` (MIT): a row of a matrix is a run of blocks, each with its own scale.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from palimpsest_train.errors import TrainingError

WIDTH = 256  # values in a block of the K formats, which have scales within scales


def dequantise(raw: Tensor, kind: str) -> Tensor:
    """Return float32 `[rows, columns]` of `uint8 [rows, bytes]`, `F32` reinterpreted. Raises TrainingError for others."""
    if kind == "F32":
        return raw.contiguous().view(torch.float32)
    if kind not in FORMATS:
        raise TrainingError(f"Weights in {kind} cannot be read; {', '.join(FORMATS)} and F32 can.")
    size, read = FORMATS[kind]
    blocks = raw.reshape(-1, size)
    return read(blocks).reshape(raw.shape[0], -1)


def _half(raw: Tensor) -> Tensor:
    """Return float32 `[N, 1]` of two bytes a block."""
    return raw.contiguous().view(torch.float16).float()


def _q8_0(b: Tensor) -> Tensor:
    return _half(b[:, :2]) * b[:, 2:].contiguous().view(torch.int8).float()


def _q5_0(b: Tensor) -> Tensor:
    scale, high, low = _half(b[:, :2]), b[:, 2:6], b[:, 6:]
    bits = torch.arange(8, dtype=torch.uint8, device=b.device)
    fifth = (high[:, :, None] >> bits & 1).reshape(-1, 32)
    nibbles = torch.cat((low & 15, low >> 4), 1)
    return scale * ((nibbles | fifth << 4).float() - 16)


def _q4_k(b: Tensor) -> Tensor:
    scale, least = _half(b[:, :2]), _half(b[:, 2:4])
    first, second, third = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    factors = torch.cat((first & 63, third & 15 | first >> 6 << 4), 1).float()
    offsets = torch.cat((second & 63, third >> 4 | second >> 6 << 4), 1).float()
    low = b[:, 16:].reshape(-1, 4, 1, 32)
    nibbles = torch.cat((low & 15, low >> 4), 2).reshape(-1, 8, 32).float()
    return (scale * factors)[:, :, None] * nibbles - (least * offsets)[:, :, None]


def _q6_k(b: Tensor) -> Tensor:
    low = b[:, :128].reshape(-1, 2, 1, 64)
    high = b[:, 128:192].reshape(-1, 2, 1, 32)
    factors, scale = b[:, 192:208].contiguous().view(torch.int8).float(), _half(b[:, 208:])
    nibbles = torch.cat((low & 15, low >> 4), 2).reshape(-1, 8, 32)
    pairs = torch.cat([high >> shift & 3 for shift in (0, 2, 4, 6)], 2).reshape(-1, 8, 32)
    values = (nibbles | pairs << 4).float() - 32
    return (scale * factors)[:, :, None] * values.reshape(-1, 16, 16)


FORMATS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "Q8_0": (34, _q8_0),
    "Q5_0": (22, _q5_0),
    "Q4_K": (144, _q4_k),
    "Q6_K": (210, _q6_k),
}
"""By name: bytes of a block, and what reads `uint8 [N, bytes]`."""
