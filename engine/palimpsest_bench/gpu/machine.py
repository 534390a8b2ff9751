"""Says what the device is and what it can do at most, and whether the kernels can be compiled for it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import torch

from palimpsest_bench.engine.hardware import machine
from palimpsest_bench.gpu.kernels import rates
from palimpsest_bench.gpu.place import Place
from palimpsest_engine.cuda.kernels import usable
from palimpsest_engine.errors import DeviceUnsupported

_ASKED = "name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit"


def items(place: Place) -> dict[str, Callable[[Place], dict[str, Any]]]:
    """Return what is asked, by name."""
    return {"what it is": what_it_is, "what it can do": what_it_can_do, "kernels": kernels}


def what_it_is(place: Place) -> dict[str, Any]:
    """Name the card, the processor and the versions. Raises DeviceUnsupported without a GPU."""
    if place.on_gpu and not torch.cuda.is_available():
        raise DeviceUnsupported("torch finds no CUDA device here; --rehearse runs everything on the CPU in small")
    return machine(place.device) | {"system": f"{platform.system()} {platform.machine()}", "driver": driver()}


def driver() -> dict[str, str]:
    """Return what nvidia-smi says of the first card; nothing where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    asked = [program, f"--query-gpu={_ASKED}", "--format=csv,noheader", "--id=0"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10)
    values = [each.strip() for each in done.stdout.strip().split(",")]
    names = _ASKED.split(",")
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else {}


def what_it_can_do(place: Place) -> dict[str, Any]:
    """Measure a large matrix product and a large copy."""
    found = rates(place)
    return {"tflops": found.flops / 1e12, "copy_gb_per_second": found.bandwidth / 1e9}


def kernels(place: Place) -> dict[str, Any]:
    """Say whether Triton's kernels run, and whether there is the C compiler that it needs."""
    compiler = next((name for name in ("gcc", "clang", "cc") if shutil.which(name)), "")
    return {"ok": usable(place.device), "compiler": compiler}
