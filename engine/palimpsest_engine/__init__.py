"""The engine: holes in a text become code by diffusion. Knows tensors and grammars, nothing of LSP.

Importing this package imports neither torch nor transformers; the engine's own thread does that.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# To be set before torch is loaded: waiting OpenMP threads must sleep. By default they spin, and on a machine that is busy
# with anything else (a compiler, a test run) one denoising step then takes seconds instead of 20 ms.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# oneDNN keeps a kernel, with memory of its own, for each of the last 1,024 shapes. Contexts come in hundreds of lengths, and
# a server would grow past a gigabyte within 200 fills. The shapes that come again fit in 32.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
os.environ.setdefault("LRU_CACHE_CAPACITY", "32")

from palimpsest_engine.changes import (
    NOTHING_FOLLOWS,
    Change,
    Diagnostic,
    FollowUps,
    NextEdit,
    NextEditQuestion,
    OpenDocument,
    Place,
)
from palimpsest_engine.engine import (
    Endpoint,
    EndpointProtocol,
    Engine,
    EngineSettings,
    EngineStatus,
    Job,
    Quantization,
)
from palimpsest_engine.errors import (
    CheckpointBroken,
    CheckpointMissing,
    DeviceLost,
    DeviceUnsupported,
    EndpointError,
    FillCancelled,
    LanguageUnknown,
    OutOfMemory,
    PalimpsestError,
    QueueFull,
    UnsupportedCheckpoint,
)
from palimpsest_engine.fill.tidy import tidy
from palimpsest_engine.replacing import replace
from palimpsest_engine.request import Confidence, Draft, DraftPiece, Excerpt, Fill, FillRequest, Span, Turn, Verdict
from palimpsest_engine.runtime.open import open_engine, refuse_relative
from palimpsest_engine.trace import Choice, Frame, Judged, Lane, Slot, Stage, StartPiece, Traced

if TYPE_CHECKING:
    from palimpsest_engine.fill.edit_window import edits_of, window_request
    from palimpsest_engine.shared.address import runtime_folders
    from palimpsest_engine.syntax.language_ids import language_id, untrained
    from palimpsest_engine.syntax.mending import Mend
    from palimpsest_engine.syntax.watched import Complaints, Definition, Mender, Outline, follow_ups, judge, warm_parser

__all__ = [
    "NOTHING_FOLLOWS",
    "Change",
    "CheckpointBroken",
    "CheckpointMissing",
    "Choice",
    "Complaints",
    "Confidence",
    "Definition",
    "DeviceLost",
    "DeviceUnsupported",
    "Diagnostic",
    "Draft",
    "DraftPiece",
    "Endpoint",
    "EndpointError",
    "EndpointProtocol",
    "Engine",
    "EngineSettings",
    "EngineStatus",
    "Excerpt",
    "Fill",
    "FillCancelled",
    "FillRequest",
    "FollowUps",
    "Frame",
    "Job",
    "Judged",
    "Lane",
    "LanguageUnknown",
    "Mend",
    "Mender",
    "NextEdit",
    "NextEditQuestion",
    "OpenDocument",
    "OutOfMemory",
    "Outline",
    "PalimpsestError",
    "Place",
    "Quantization",
    "QueueFull",
    "Slot",
    "Span",
    "Stage",
    "StartPiece",
    "Traced",
    "Turn",
    "UnsupportedCheckpoint",
    "Verdict",
    "edits_of",
    "follow_ups",
    "judge",
    "language_id",
    "open_engine",
    "refuse_relative",
    "replace",
    "runtime_folders",
    "tidy",
    "untrained",
    "warm_parser",
    "window_request",
]
__version__ = "0.1.0"

_LATER = dict.fromkeys(
    ("Complaints", "Definition", "Mender", "Outline", "follow_ups", "judge", "warm_parser"), "syntax.watched"
) | {
    "Mend": "syntax.mending",
    "edits_of": "fill.edit_window",
    "window_request": "fill.edit_window",
    "runtime_folders": "shared.address",
    "language_id": "syntax.language_ids",
    "untrained": "syntax.language_ids",
}


def __getattr__(name: str) -> Any:
    """Import the names that need grammars when they are first used: a server answers `initialize` without them."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return value
