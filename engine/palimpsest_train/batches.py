"""Give the batch of each step in order, drawn between steps or by processes ahead of them. Knows nothing of torch.

What a step's batch is follows from the seed and the step alone, so both ways, and every resumed run, see the same.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from palimpsest_train.data import Batch, ContextBatch, Rows
from palimpsest_train.errors import TrainingError
from palimpsest_train.splits import Source

Drawn = Generator[Batch | ContextBatch, None, None]
AHEAD = 2  # batches a worker

_rows: Rows | None = None  # a worker's own


def batches(source: Source, steps: range) -> Drawn:
    """Return the batches of these steps; a closed generator leaves no process behind."""
    return _ahead(source, steps) if source.recipe.workers else _between(source, steps)


def _between(source: Source, steps: range) -> Drawn:
    rows = source.open()
    for step in steps:
        yield _drawn(rows, step, source.recipe.rows)


def _ahead(source: Source, steps: range) -> Drawn:
    # Spawned, as a fork would copy a process that has threads and a GPU.
    pool = ProcessPoolExecutor(source.recipe.workers, get_context("spawn"), _open, (source,))
    try:
        waiting: deque[Future[Batch | ContextBatch]] = deque()
        for step in steps:
            waiting.append(pool.submit(_drawn_here, step, source.recipe.rows))
            if len(waiting) > AHEAD * source.recipe.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise TrainingError(
            "A process that draws rows ended unasked, perhaps for want of memory; resume with fewer workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _open(source: Source) -> None:
    global _rows
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer itself decides what an interrupt means
    _rows = source.open()


def _drawn_here(step: int, count: int) -> Batch | ContextBatch:
    assert _rows is not None
    return _drawn(_rows, step, count)


def _drawn(rows: Rows, step: int, count: int) -> Batch | ContextBatch:
    rows.seek(step)
    batch: Batch | ContextBatch = rows.batch(count)
    return batch
