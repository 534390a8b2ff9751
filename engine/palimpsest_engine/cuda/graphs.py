"""Run the decoder's layers over a shared prefix as CUDA graphs: a pass starts one graph, not thousands of kernels.

A graph has fixed addresses and shapes. So prefixes lie in buffers of a few lengths, and canvases are padded: rows to a few
batch sizes, positions to multiples of 32 that nobody attends to. Tests run all of it without the recording.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.cuda.shared_prefix import SharedPrefix, padded, through_shared
from palimpsest_engine.model.kv_cache import RollbackCache

log = logging.getLogger(__name__)

BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
POSITIONS = 32
PREFIXES, GRAPHS = 3, 24  # kept

Work = Callable[[], Tensor]
Record = Callable[[Work], tuple[Work, Tensor]]


def room_for(batch: int, length: int) -> tuple[int, int]:
    """Return (rows, positions) of the buffer for so many rows of so many positions."""
    rows = next((size for size in BATCHES if size >= batch), batch)
    return rows, -(-length // POSITIONS) * POSITIONS


class Static:
    """A stack's layers and norm over one `SharedPrefix`, `[B, T, d]` to the same, at fixed addresses."""

    def __init__(self, prefix: SharedPrefix, stack: Any, like: Tensor, positions: Tensor, record: Record) -> None:
        rows, length = room_for(like.shape[0], like.shape[1])
        self.hidden = like.new_zeros(rows, length, like.shape[2])
        self.positions = positions.new_zeros(1, length)
        self.beside = like.new_zeros(length)

        def work() -> Tensor:
            prefix.beside = self.beside
            try:
                return through_shared(prefix, stack, self.hidden, self.positions)
            finally:
                prefix.beside = None

        self._fill(like, positions)
        self._replay, self._out = record(work)

    def _fill(self, hidden: Tensor, positions: Tensor) -> None:
        batch, length, _ = hidden.shape
        self.hidden[:batch, :length].copy_(hidden)
        self.positions[:, :length].copy_(positions)
        self.beside[:length] = 0.0
        self.beside[length:] = -torch.inf

    def run(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """Return the last hidden states, which the next run overwrites."""
        self._fill(hidden, positions)
        self._out = self._replay()
        return self._out[: hidden.shape[0], : hidden.shape[1]]


def unrecorded(work: Work) -> tuple[Work, Tensor]:
    """Do the work without recording it."""
    return work, work()


def as_graph(work: Work) -> tuple[Work, Tensor]:
    """Record the work as a CUDA graph; return its replay, and where its result is."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(2):  # kernels are chosen and workspaces taken before anything is recorded
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = work()

    def replay() -> Tensor:
        graph.replay()
        return out

    return replay, replay()


class Prefixes:
    """The buffers of a model, one for each length of prefix, and what was recorded over each; those used last are kept.

    record: `as_graph`, or `unrecorded`. What cannot be recorded is run as it stands from then on, and logged once.
    """

    def __init__(self, record: Record = as_graph) -> None:
        self._record: Record | None = record
        self._prefixes: dict[int, SharedPrefix] = {}
        self._static: dict[tuple[int, int, int], Static] = {}

    def shared(self, cache: RollbackCache) -> SharedPrefix:
        """Return the cache's context ready to be read by any number of rows; until the next call with one of the same
        length."""
        capacity = padded(cache.get_seq_length())
        prefix = self._prefixes.pop(capacity, None)
        if prefix is None:
            prefix = SharedPrefix(cache, self.run)
        else:
            prefix.load(cache)
        self._prefixes[capacity] = prefix
        while len(self._prefixes) > PREFIXES:
            gone = next(iter(self._prefixes))
            del self._prefixes[gone]
            self._static = {key: static for key, static in self._static.items() if key[0] != gone}
        return prefix

    def run(self, prefix: SharedPrefix, stack: Any, hidden: Tensor, positions: Tensor) -> Tensor:
        """Run a stack's layers and norm, as `forward.through` does, over a prefix of these."""
        if self._record is None:
            return through_shared(prefix, stack, hidden, positions)
        key = (prefix.capacity, *room_for(hidden.shape[0], hidden.shape[1]))
        static = self._static.pop(key, None)
        if static is None:
            try:
                static = Static(prefix, stack, hidden, positions, self._record)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                log.warning("the decoder's layers cannot be recorded as a CUDA graph and will be slower: %s", error)
                self._record = None
                self._static.clear()
                return through_shared(prefix, stack, hidden, positions)
        self._static[key] = static
        while len(self._static) > GRAPHS:
            self._static.pop(next(iter(self._static)))
        return static.run(hidden, positions)

    @property
    def recording(self) -> bool:
        """Return whether passes are still recorded: no recording has failed so far."""
        return self._record is not None

    def forget(self) -> None:
        """Give the memory back."""
        self._prefixes.clear()
        self._static.clear()
