"""Time work on a device in seconds of wall clock. Knows no models."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def wait(device: torch.device | None) -> None:
    """Wait until a GPU has done all that it was given to do; do nothing on any other device."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], runs: int, device: torch.device | None = None) -> list[float]:
    """Return the wall clock time of each of so many runs, after one run that does not count."""
    work()
    out = []
    for _ in range(runs):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        out.append(time.perf_counter() - begun)
    return out
