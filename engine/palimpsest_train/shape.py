"""Hold the size of an embedded model, in numbers alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of an embedded model."""

    vocabulary: int = 4096
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    mlp: int = 640
    expert: int = 64
    sliding_window: int = 1024
    canvas: int = 48
    positions: int = 2048

    @property
    def full(self) -> tuple[bool, ...]:
        """Return whether each layer attends to everything: every third does, and the last. Those take keys as values."""
        return tuple(i % 3 == 2 or i == self.layers - 1 for i in range(self.layers))
