"""Tell which models of the catalogue fit this machine, and recommend one. Imports no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from palimpsest_engine.checkpoint.catalogue import Entry, size_text
from palimpsest_engine.engine import Quantization

Place = Literal["gpu", "memory"]
_RECOMMENDED_FAMILY = "qwen2.5-coder"
_PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Machine:
    """Bytes free in main memory and on the GPU with the most of them; gpu is its name, or empty."""

    memory: int
    gpu_memory: int = 0
    gpu: str = ""
    cores: int = 1


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A model of the catalogue and the reason in a sentence. name is None if the embedded checkpoint is recommended."""

    name: str | None
    reason: str


def this_machine() -> Machine:
    """Look at main memory, cores, and NVIDIA's GPUs."""
    import psutil

    gpu, gpu_memory = _largest_gpu()
    return Machine(int(psutil.virtual_memory().available), gpu_memory, gpu, os.cpu_count() or 1)


def _largest_gpu() -> tuple[str, int]:
    """Ask the driver's own tool, which takes a tenth of a second; torch would take seconds."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "", 0
    question = [tool, "--query-gpu=memory.free,name", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(question, capture_output=True, text=True, check=True, timeout=_PATIENCE_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return "", 0
    return parse_gpus(told)


def parse_gpus(told: str) -> tuple[str, int]:
    """Return name and free bytes of the GPU with the most of them, from lines of `MiB, name`."""
    found = []
    for line in told.splitlines():
        free, _, name = line.partition(",")
        if free.strip().isdigit():
            found.append((int(free) * 2**20, name.strip()))
    memory, name = max(found, default=(0, ""))
    return name, memory


def place_for(entry: Entry, machine: Machine) -> Place | None:
    """Return where the model fits, the GPU first; None if it fits nowhere or its needs are not known."""
    if machine.gpu and entry.vram is not None and entry.vram <= machine.gpu_memory:
        return "gpu"
    return "memory" if entry.ram is not None and entry.ram <= machine.memory else None


def format_for(entry: Entry, machine: Machine) -> Quantization:
    """Return the most exact quantization with which the model fits the GPU; "none" if it needs none, or if none is known."""
    if not machine.gpu or place_for(entry, machine) == "gpu":
        return "none"
    needs: dict[Quantization, int | None] = {"int8": entry.vram_int8, "int4": entry.vram_int4}
    fitting = (each for each, size in needs.items() if size is not None and size <= machine.gpu_memory)
    return next(fitting, "none")


def recommend(machine: Machine, entries: Sequence[Entry]) -> Recommendation:
    """Recommend a model for a machine: on a GPU the largest that fits it, else the smallest that fits main memory.

    Only models of a measured family count, and only those that everybody may use at work. DiffusionGemma is left out until
    its quality is measured, and a model that fits only in a quantization until that has run on a GPU.
    """
    family = [each for each in entries if each.family == _RECOMMENDED_FAMILY and each.fills and not each.restriction]
    on_gpu = [each for each in family if place_for(each, machine) == "gpu"]
    if on_gpu:
        best = max(on_gpu, key=lambda each: each.vram or 0)
        return Recommendation(
            best.name,
            f"It is the largest freely licensed Qwen coder that fits the {size_text(machine.gpu_memory)} free on "
            f"{machine.gpu}; the larger models have not been measured here.",
        )
    in_memory = [each for each in family if place_for(each, machine) == "memory"]
    if in_memory:
        best = min(in_memory, key=lambda each: each.ram or 0)
        return Recommendation(
            best.name,
            f"Without a GPU that has room, the smallest coder answers soonest on {machine.cores} CPU "
            f"core{'s' if machine.cores > 1 else ''}; it needs {size_text(best.ram)} of the {size_text(machine.memory)} of "
            "memory that are free.",
        )
    return Recommendation(
        None, f"Only {size_text(machine.memory)} of memory are free, which is enough for the embedded checkpoint alone."
    )
