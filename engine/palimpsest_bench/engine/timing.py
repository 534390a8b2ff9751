"""Clocks: work timed in seconds, and slopes that leave out what is done once. Knows no models."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import FrameType

import torch

from palimpsest_engine.errors import PalimpsestError

FEW, MANY = 2, 8


def seconds(work: Callable[[], object], runs: int, device: torch.device | None = None) -> list[float]:
    """Wall clock of each of so many runs, after one that does not count."""
    work()
    out = []
    for _ in range(runs):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        out.append(time.perf_counter() - begun)
    return out


def slopes(ways: dict[str, Callable[[int], object]], device: torch.device, runs: int) -> dict[str, float]:
    """Milliseconds a step of each way, by turns: the median over the runs of what `MANY` steps take more than `FEW`."""
    took = {name: list[float]() for name in ways}
    for run in range(runs + 1):  # the first warms up
        for name, work in ways.items():
            each = []
            for count in (FEW, MANY):
                wait(device)
                begun = time.perf_counter()
                work(count)
                wait(device)
                each.append(time.perf_counter() - begun)
            if run:
                took[name].append(1000 * (each[1] - each[0]) / (MANY - FEW))
    return {name: median(values) for name, values in took.items()}


def wait(device: torch.device | None) -> None:
    """Until a GPU has done what it was told to do."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def at_most(limit: float, what: str) -> Iterator[None]:
    """Raises PalimpsestError inside the block after so many seconds, where the system can do that (in the main thread, and
    not on Windows)."""
    here = threading.current_thread() is threading.main_thread()
    if limit == float("inf") or not hasattr(signal, "setitimer") or not here:
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise PalimpsestError(f"{what} took longer than {limit:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(limit, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
