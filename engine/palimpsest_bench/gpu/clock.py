"""Times work on a device by its own events, several times, so that the noise is known. Knows no models."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.cuda.graphs import as_graph, unrecorded

FEW, MANY = 2, 8


def elapsed(work: Callable[[], object], device: torch.device) -> float:
    """Return the milliseconds that work takes on a device, by CUDA events; elsewhere by the clock."""
    if device.type != "cuda":
        begun = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - begun)
    torch.cuda.synchronize(device)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    first.record()
    work()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))


def spread(times: list[float]) -> dict[str, Any]:
    """Return the median of some times, the least, the most, and how many there are."""
    return {"ms": median(times), "low": min(times), "high": max(times), "runs": len(times)}


def slopes(ways: dict[str, Callable[[int], object]], device: torch.device, runs: int) -> dict[str, dict[str, Any]]:
    """Return the milliseconds a step of each way, timed in turns: slopes between `FEW` and `MANY` steps, without what is
    done once. The first turn warms up."""
    took = {name: list[float]() for name in ways}
    for run in range(runs + 1):
        for name, work in ways.items():
            few, many = (elapsed(lambda count=count, work=work: work(count), device) for count in (FEW, MANY))  # type: ignore[misc]
            if run:
                took[name].append((many - few) / (MANY - FEW))
    return {name: spread(times) for name, times in took.items()}


def repeated(work: Callable[[], Tensor], device: torch.device, runs: int, times: int) -> dict[str, Any]:
    """Return the milliseconds of one call out of so many in a row, which on a GPU are one CUDA graph: without the time that
    starting them takes. `recorded`: whether that was possible."""

    def many() -> Tensor:
        out = work()
        for _ in range(times - 1):
            out = work()
        return out

    recorded = device.type == "cuda"
    try:
        again, _ = (as_graph if recorded else unrecorded)(many)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # it waits for the device, or copies from main memory
        again, recorded = many, False
    again()
    return spread([elapsed(again, device) / times for _ in range(runs)]) | {"recorded": recorded}
