"""Triton kernels for NVIDIA GPUs; each has a plain form elsewhere that defines its result.

Importing this package imports no Triton. Triton comes with torch's builds for CUDA; its interpreter runs the kernels on a
CPU, far too slowly for anything but tests.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
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


def right(what: str, device: Any, off: Callable[[], float], most: float) -> bool:
    """Return whether the kernels for something can be compiled for a `torch.device` and are right on a trial; a warning says
    why not. off: runs the trial and returns the error, which may not be above `most`.
    """
    import torch

    try:
        found = off()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # there is a plain form, whatever went wrong
        log.warning("Kernels for %s cannot be used on %s: %s", what, device, str(error).strip().split("\n")[0])
        return False
    if not found < most:  # NaN, too
        log.warning("Kernels for %s on %s are off by %.3f and not used; fills take longer.", what, device, found)
        return False
    return True
