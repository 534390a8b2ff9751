"""Collect garbage in quiet moments, not while the user types; knows nothing of the objects.

A full collection holds everything up, for a tenth of a second once a model is loaded, and would come at any moment.
Collecting young objects goes on all the time, and costs next to nothing.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from time import monotonic, thread_time

_QUIET_SECONDS = 2.0
_AT_THE_LATEST_SECONDS = 30.0
_LONG_SECONDS = 0.02
_NEVER = 1_000_000


async def collect(heard: Callable[[], float]) -> None:
    """Collect garbage in quiet moments, for ever. heard: the time of the last message, by the monotonic clock.

    Collection may have been off until now, since importing modules makes no garbage. What is left after a long collection was
    imported and stays: it is not looked at again.
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    gc.freeze()
    gc.enable()
    last = monotonic()
    while True:
        await asyncio.sleep(_QUIET_SECONDS)
        now = monotonic()
        if heard() > last and (now - heard() >= _QUIET_SECONDS or now - last >= _AT_THE_LATEST_SECONDS):
            begun = thread_time()
            gc.collect()
            if thread_time() - begun > _LONG_SECONDS:
                gc.freeze()
            last = monotonic()
