"""Each kernel of a layer against what it says it computes, in float64 and rounded where the class rounds."""

from __future__ import annotations

import pytest
import torch

from gpu.conftest import DEVICE, ON_GPU
from palimpsest_bench.gpu import layer_kernels
from palimpsest_engine.cuda.kernels import usable

pytestmark = pytest.mark.gpu
TYPES = [torch.float32, torch.bfloat16]
# Rows and widths: a power of two, odd ones, the width of the 26B.
ROWS = [(1, 16), (3, 33), (7, 80), *([(65, 1000), (256, 2816)] if ON_GPU else [])]
# Rows, positions, groups of heads, heads in a group, width of a head.
HEADS = [
    (1, 1, 1, 1, 16),
    (2, 5, 2, 3, 24),
    (3, 7, 1, 2, 48),
    *([(2, 33, 8, 2, 256), (1, 256, 2, 8, 512)] if ON_GPU else []),
]
CASES = [
    *(("norm", shape) for shape in ROWS),
    *(("heads", (*shape, keys_are_values)) for shape in HEADS for keys_are_values in (False, True)),
    *(("merge", shape) for shape in HEADS),
    *(("between_and_end", shape) for shape in ROWS),
    *(("route", shape) for shape in [(1, 4, 2), (5, 7, 3), *([(257, 128, 8)] if ON_GPU else [])]),
    *(("activate", shape) for shape in ROWS),
]


def test_triton_is_used_here():
    assert usable(DEVICE)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("kernel", "shape"), CASES)
def test_a_kernel_is_within_some_roundings_of_its_plain_form(kernel, shape, dtype):
    most = 5e-6 if dtype == torch.float32 else 6e-3 if ON_GPU else 0.02  # the interpreter cuts numbers off
    assert layer_kernels.off(getattr(layer_kernels, kernel)(DEVICE, dtype, *shape)) < most
