"""The engine: holes in a text become code by diffusion. Knows tensors and grammars, nothing of LSP.

Importing this package imports neither torch nor transformers; the engine's own thread does that.
"""

from palimpsest_engine.engine import Engine, EngineSettings, EngineStatus, Job, open_engine
from palimpsest_engine.errors import (
    CheckpointBroken,
    CheckpointMissing,
    FillCancelled,
    OutOfMemory,
    PalimpsestError,
    UnsupportedCheckpoint,
)
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest, Span, Verdict

__all__ = [
    "CheckpointBroken",
    "CheckpointMissing",
    "Draft",
    "DraftPiece",
    "Engine",
    "EngineSettings",
    "EngineStatus",
    "Fill",
    "FillCancelled",
    "FillRequest",
    "Job",
    "OutOfMemory",
    "PalimpsestError",
    "Span",
    "UnsupportedCheckpoint",
    "Verdict",
    "open_engine",
]
__version__ = "0.1.0"
