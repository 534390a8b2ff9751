"""The device that is measured, and whether the sizes are the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from palimpsest_bench.engine.random_models import Shape


@dataclass(frozen=True, slots=True)
class Place:
    """A device. A rehearsal is on the CPU, with tiny shapes and Triton's interpreter."""

    device: torch.device

    @property
    def on_gpu(self) -> bool:
        """Tell whether this is the real thing."""
        return self.device.type == "cuda"

    @property
    def shape(self) -> Shape:
        """Return the shape of the model whose steps are timed."""
        return "26b" if self.on_gpu else "26b-narrow"

    @property
    def dtype(self) -> Literal["bfloat16", "float32"]:
        """Return the number format of that model."""
        return "bfloat16" if self.on_gpu else "float32"

    @property
    def context(self) -> int:
        """Return the tokens of context before a canvas."""
        return 1024 if self.on_gpu else 16

    @property
    def runs(self) -> int:
        """Return how often each time is taken."""
        return 7 if self.on_gpu else 2
