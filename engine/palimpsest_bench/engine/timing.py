"""Clocks: times variants in turns, without work that is done only once, and limits the time of a part. Knows no models."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from types import FrameType

import torch

from palimpsest_engine.cuda.timing import wait
from palimpsest_engine.errors import PalimpsestError

FEW, MANY = 2, 8


def slopes(ways: dict[str, Callable[[int], object]], device: torch.device, runs: int) -> dict[str, float]:
    """Return milliseconds a step of each way, timed in turns: the median slope between `FEW` and `MANY` steps."""
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


@contextmanager
def at_most(limit: float, what: str) -> Iterator[None]:
    """Raise PalimpsestError inside the block after `limit` seconds. Works in the main thread only, and not on Windows.

    It leaves the block as it is, even if what runs there makes another error of it, as compilers do.
    """
    here = threading.current_thread() is threading.main_thread()
    if limit == float("inf") or sys.platform == "win32" or not here:
        yield
        return

    too_late: PalimpsestError | None = None

    def late(number: int, frame: FrameType | None) -> None:
        nonlocal too_late
        too_late = PalimpsestError(f"{what} took longer than {limit:.0f} s")
        raise too_late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(limit, 0.001))
    try:
        yield
    except Exception as error:
        if too_late is None or error is too_late:
            raise
        raise too_late from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
