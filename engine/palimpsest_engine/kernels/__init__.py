"""Kernels written in Triton, for NVIDIA GPUs; each has a plain form elsewhere that says what it computes.

Importing this package imports no Triton. Triton comes with torch's builds for CUDA; its interpreter runs the kernels on a
CPU, far too slowly for anything but tests.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any


def usable(device: Any) -> bool:
    """Whether kernels run on this `torch.device`: a GPU with matrix units for bfloat16 (Ampere on), or the interpreter."""
    if importlib.util.find_spec("triton") is None:
        return False
    if os.environ.get("TRITON_INTERPRET") == "1":
        return True
    if device.type != "cuda":
        return False
    import torch

    return torch.cuda.get_device_capability(device) >= (8, 0)
