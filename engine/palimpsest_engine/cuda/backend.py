"""Make a model ready for its device, and read a document's cache the way that device does it fastest.

The only entrance to this room: callers ask for a prefix, for rows, or for a sampler, and never which device it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from palimpsest_engine.cuda.experts import give_kernels
from palimpsest_engine.cuda.fused_layers import make_fused
from palimpsest_engine.cuda.graphs import Prefixes
from palimpsest_engine.cuda.kernels import usable
from palimpsest_engine.cuda.linears import give_kernel
from palimpsest_engine.cuda.shared_prefix import Rows, SharedPrefix, make_shared
from palimpsest_engine.model.kv_cache import RollbackCache

Prefix = RollbackCache | SharedPrefix  # what the decoder reads
Continued = RollbackCache | Rows  # what the encoder goes on from


class Backend:
    """The way a device reads a document's cache. prefixes: the buffers of a GPU, or None where each row has a view of the
    cache."""

    def __init__(self, prefixes: Prefixes | None = None) -> None:
        self.prefixes = prefixes

    def prefix(self, cache: RollbackCache, rows: int) -> Prefix:
        """Return an encoded context for the decoder to read with so many rows."""
        return cache.branch(rows) if self.prefixes is None else self.prefixes.shared(cache)

    def rows(self, cache: RollbackCache, rows: int, length: int) -> Continued:
        """Return the first `length` encoded tokens for the encoder to go on from with so many rows."""
        return cache.branch(rows, length) if self.prefixes is None else Rows(cache, length)

    def forget(self) -> None:
        """Give back the memory of what can be made again."""
        if self.prefixes is not None:
            self.prefixes.forget()


def prepare(model: Any) -> Backend:
    """Let a model on a GPU run over shared prefixes and by the kernels that can be used there; leave any other as it is."""
    if model.device.type != "cuda":
        return Backend()
    give_kernels(model)
    give_kernel(model)
    make_shared(model)
    make_fused(model)
    return Backend(Prefixes())


def prepare_left_to_right(model: Any) -> Backend:
    """Let a left-to-right model on a GPU multiply by the kernels that can be used there; leave any other as it is."""
    give_kernel(model)
    return Backend()


def fused_sampler(device: torch.device) -> Callable[..., Any] | None:
    """Return `kernels.sampler.fused`, or None where the kernels cannot be used and the plain form has to do."""
    if device.type != "cuda" or not usable(device):
        return None
    from palimpsest_engine.cuda.kernels.sampler import fused

    return fused
