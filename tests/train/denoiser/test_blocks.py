"""Blocks are read as ggml's reference does, formula by formula, on random bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from palimpsest_train.denoiser.blocks import FORMATS, dequantise
from palimpsest_train.errors import TrainingError


def half(block, at):
    return float(block[at : at + 2].view(np.float16)[0])


def q8_0(b):
    return [half(b, 0) * float(q) for q in b[2:].view(np.int8)]


def q5_0(b):
    high = int(b[2:6].view("<u4")[0])
    low = [int(b[6 + j] & 15 | (high >> j & 1) << 4) - 16 for j in range(16)]
    top = [int(b[6 + j] >> 4 | (high >> (j + 16) & 1) << 4) - 16 for j in range(16)]
    return [half(b, 0) * q for q in low + top]


def q4_k(b):
    scales, found = b[4:16], []
    for j in range(8):
        if j < 4:
            factor, offset = scales[j] & 63, scales[j + 4] & 63
        else:
            factor = scales[j + 4] & 15 | (scales[j - 4] >> 6) << 4
            offset = scales[j + 4] >> 4 | (scales[j] >> 6) << 4
        for k in range(32):
            byte = b[16 + j // 2 * 32 + k]
            q = byte >> 4 if j % 2 else byte & 15
            found.append(half(b, 0) * int(factor) * int(q) - half(b, 2) * int(offset))
    return found


def q6_k(b):
    low, high, scales = b[:128], b[128:192], b[192:208].view(np.int8)
    found = np.zeros(256)
    for n in range(2):
        for k in range(32):
            l1, l2, h = int(low[64 * n + k]), int(low[64 * n + 32 + k]), int(high[32 * n + k])
            values = (
                l1 & 15 | (h & 3) << 4,
                l2 & 15 | (h >> 2 & 3) << 4,
                l1 >> 4 | (h >> 4 & 3) << 4,
                l2 >> 4 | h >> 6 << 4,
            )
            for m, q in enumerate(values):
                found[128 * n + 32 * m + k] = half(b, 208) * int(scales[8 * n + 2 * m + k // 16]) * (q - 32)
    return found


REFERENCES = {"Q8_0": q8_0, "Q5_0": q5_0, "Q4_K": q4_k, "Q6_K": q6_k}
HALVES = {"Q8_0": (0,), "Q5_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}


@pytest.mark.parametrize("kind", FORMATS)
def test_blocks(kind):
    size = FORMATS[kind][0]
    raw = np.random.default_rng(3).integers(0, 256, (2, 3 * size), dtype=np.uint8)
    blocks = raw.reshape(-1, size)
    for at in HALVES[kind]:
        blocks[:, at : at + 2] = np.array([0.01], dtype=np.float16).view(np.uint8)
    expected = np.array([REFERENCES[kind](block) for block in blocks]).reshape(2, -1)
    np.testing.assert_allclose(dequantise(torch.from_numpy(raw), kind).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_an_unknown_format_is_a_sentence():
    with pytest.raises(TrainingError, match="Q2_K"):
        dequantise(torch.zeros(1, 84, dtype=torch.uint8), "Q2_K")
