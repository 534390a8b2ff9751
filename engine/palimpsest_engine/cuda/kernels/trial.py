# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-untyped, import-not-found"
# ruff: noqa: ANN001, ANN202
"""Run the smallest kernel there is, to see whether Triton works on a device at all."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def _double(numbers, size: tl.constexpr):
    at = tl.arange(0, size)
    tl.store(numbers + at, tl.load(numbers + at) * 2.0)


def runs(device: torch.device) -> bool:
    """Return whether a kernel can be compiled and run there, and computes what it should. Waits for the device."""
    numbers = torch.ones(16, device=device)
    with torch.cuda.device_of(numbers):  # type: ignore[no-untyped-call]  # kernels start on the current device
        _double[(1,)](numbers, size=16)
    return bool((numbers == 2.0).all())
