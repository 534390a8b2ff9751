"""Run a checkpoint in this process: one thread owns the model. torch and transformers are imported there only."""

from __future__ import annotations

from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.runtime.fallback import FallbackFiller
from palimpsest_engine.runtime.queued import QueuedEngine


class LocalEngine(QueuedEngine):
    """Loads a checkpoint on `warm` or the first `submit` and fills one request after the other."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(
            lambda: FallbackFiller(settings), "The checkpoint is being loaded.", "Denoising.", "palimpsest-model"
        )
        self.settings = settings
