"""A checkpoint after it was loaded, and what is decided before: device, number format, threads. Reads no weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint.calibration import Calibration
from palimpsest_engine.checkpoint.locate import weight_files
from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.engine import EngineSettings, Quantization
from palimpsest_engine.errors import CheckpointBroken, DeviceUnsupported

LARGE = 10_000_000  # parameters from which a second thread pays


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint: the model in evaluation mode, its tokenizer, and what it says of itself. folder: or its one file.

    adapter: the name of the one that was added to its weights, or "". quantization: how the experts are kept, or the linear
    maps of a left-to-right model. int8: its layers multiply in eight bits. calibration: how sure its fills are; None if
    nobody measured that.
    """

    folder: Path
    spec: Spec
    model: Any
    tokenizer: Any
    device: str
    dtype: str
    adapter: str = ""
    quantization: Quantization = "none"
    int8: bool = False
    parameters: int = 0
    calibration: Calibration | None = None

    @property
    def files(self) -> list[Path]:
        """Return the files of its weights."""
        return [self.folder] if self.folder.is_file() else weight_files(self.folder)

    @property
    def number_format(self) -> str:
        """Name the format of the weights for people."""
        if self.int8:
            return f"{self.dtype}, multiplied in int8"
        if self.quantization == "none":
            return self.dtype
        kept = "experts" if hasattr(self.model.model, "encoder") else "weights"
        return f"{self.dtype}, {kept} in {self.quantization}"

    @property
    def name(self) -> str:
        """Name for people what they run."""
        return f"{self.spec.name} with the adapter {self.adapter}" if self.adapter else self.spec.name


def choose(settings: EngineSettings) -> tuple[str, str]:
    """Return (device, dtype): a GPU if there is one; on a CPU bfloat16 only where the processor multiplies it natively."""
    import torch

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceUnsupported(
            f"The setting device is {device}, but torch sees no CUDA device; set it to auto or cpu."
        )
    dtype: str = settings.dtype
    if dtype == "auto":
        native = device != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        dtype = "bfloat16" if native else "float32"
    return device, dtype


def cpu_threads(wanted: int | None, parameters: int) -> int:
    """Choose the number of threads for a model of so many parameters: a small one gains nothing from a second thread, and
    leaves that core to the editor."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or min(1 if parameters < LARGE else 8, usable)


def vocabulary_of(config: dict[str, Any], where: Path) -> int:
    """Return the number of ids that a config gives its model. Raises CheckpointBroken if it does not say."""
    inner = config.get("text_config", config)
    found = inner.get("vocab_size") if isinstance(inner, dict) else None
    if type(found) is not int or found < 1:
        raise CheckpointBroken(f"The config in {where} does not say how many ids the model has.")
    return found
