"""Triton kernels for NVIDIA GPUs; each has a plain form elsewhere that defines its result.

Importing this package imports no Triton. Triton comes with torch's builds for CUDA; its interpreter runs the kernels on a
CPU, far too slowly for anything but tests.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import cache
from typing import Any

log = logging.getLogger("palimpsest.engine")


@cache
def usable(device: Any) -> bool:
    """Return whether kernels run on this `torch.device`: a GPU with matrix units for bfloat16 (Ampere on) on which a trial
    kernel did what it should, or the interpreter. The first call for a GPU takes a second, and must not be recorded in a
    graph.

    Triton compiles a little C at run time: without a C compiler there are no kernels, and a warning says so.
    """
    if importlib.util.find_spec("triton") is None:
        return False
    if os.environ.get("TRITON_INTERPRET") == "1":
        return True
    if device.type != "cuda":
        return False
    import torch

    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    try:
        from palimpsest_engine.cuda.kernels.trial import runs

        works = runs(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler is missing, or a driver is too old; whatever it is, there is a plain form
        log.warning(
            "Triton cannot be used on %s, so that fills take longer: %s", device, str(error).strip().split("\n")[0]
        )
        return False
    if not works:
        log.warning("Triton's results on %s are wrong, so that it is not used, and fills take longer.", device)
    return works
