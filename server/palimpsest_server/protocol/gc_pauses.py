"""When the interpreter goes through all its objects for garbage: not while somebody types; knows nothing of what they are.

That holds everything up, for a tenth of a second once a model is loaded, and comes at any moment if it is not told when.
What dies young is found all the time, and costs next to nothing.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from time import monotonic, thread_time

_QUIET_SECONDS = 2.0
_AT_THE_LATEST_SECONDS = 5.0
_LONG_SECONDS = 0.02
_NEVER = 1_000_000


async def collect(heard: Callable[[], float]) -> None:
    """Go through the objects when there is quiet, for ever. heard: when the last message came, by the monotonic clock.

    Until then it may have been off altogether: nothing dies while modules are imported, and looking takes a tenth as long.
    If that takes long, what is left is not looked at again: it is what was imported, and stays.
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
