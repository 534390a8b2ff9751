"""Fixtures of the benchmark's tests: the engine's tiny models and the command line in this process."""

from __future__ import annotations

from ..cli.conftest import Palimpsest, palimpsest
from ..engine.conftest import checkpoint, checkpoint_folder, model, tiny

__all__ = ["Palimpsest", "checkpoint", "checkpoint_folder", "model", "palimpsest", "tiny"]
