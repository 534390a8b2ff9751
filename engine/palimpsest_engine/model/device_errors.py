"""Turn the errors that torch raises when memory runs out or a device fails into this engine's own. Imports no torch.

torch 2.11 to 2.13 raise `torch.OutOfMemoryError` from their allocator of GPU memory, `torch.AcceleratorError` with CUDA's
`error_code` for everything else that CUDA says, and a bare RuntimeError for libraries such as cuBLAS, for the driver, and
for main memory. Triton raises RuntimeErrors, too. After some of CUDA's errors nothing can be done on that device until the
process ends, after others everything; only trying tells.
"""

from __future__ import annotations

import gc
import re

from palimpsest_engine.errors import DeviceLost, DeviceUnsupported, OutOfMemory

Outage = OutOfMemory | DeviceLost | DeviceUnsupported

_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|STATUS_ALLOC_FAILED", re.IGNORECASE
)
_UNSUPPORTED = re.compile(
    r"no kernel image is available|device kernel image is invalid|unsupported toolchain"
    r"|not compatible with the current PyTorch|driver version is insufficient"
    r"|driver on your system is too old|forward compatibility was attempted"
    r"|invalid device ordinal|no CUDA-capable device",
    re.IGNORECASE,
)
_DEVICE = re.compile(r"\b(CUDA|HIP)\b.*\berror\b|Triton Error|\bCU(BLAS|DNN)_STATUS_|cudaError|NVML", re.IGNORECASE)


def outage(error: BaseException, doing: str, device: str) -> Outage | None:
    """Return the error as one of ours if memory or a device gave out, or None if it is of another kind, such as a bug.

    doing: as in "during a fill". device: where that was. Looks at what the error was raised from, too. If CUDA complained,
    it is asked whether it still works.
    """
    if isinstance(error, OutOfMemory | DeviceLost | DeviceUnsupported):
        return type(error)(str(error))  # without the frames that it came through, and the tensors in them
    kinds = {kind.__name__ for kind in type(error).__mro__}
    what = re.sub(r"^\[enforce fail at [^]]*\][^.]*\. ", "", str(error).strip().split("\n")[0])
    if "MemoryError" in kinds or "OutOfMemoryError" in kinds or ("RuntimeError" in kinds and _MEMORY.search(what)):
        return OutOfMemory(f"Memory ran out on {device} {doing}: {'. '.join(what.split('. ')[:3]).rstrip('.')}.")
    if "RuntimeError" in kinds and _UNSUPPORTED.search(what):
        return DeviceUnsupported(
            f"This installation of torch cannot use the GPU ({what.rstrip('.')}): set device to cpu, or install a torch and "
            "a driver for it."
        )
    if "AcceleratorError" in kinds or ("RuntimeError" in kinds and _DEVICE.search(what)):
        if works(device):
            return None
        return DeviceLost(f"The GPU was lost {doing} ({what.rstrip('.')}): it can be used again after a restart.")
    if error.__cause__ is not None and error.__cause__ is not error:
        return outage(error.__cause__, doing, device)
    return None


def works(device: str) -> bool:
    """Return whether a GPU still computes: after an error that lasts, everything it is asked for fails."""
    if not device.startswith("cuda"):
        return False  # there is nothing to try: whatever complained was another device
    import torch

    try:
        return bool((torch.ones(2, device=device) + 1 == 2).all())
    except torch.OutOfMemoryError:
        return True
    except Exception:
        return False


def give_back_memory() -> None:
    """Give a GPU the memory back that torch's allocator holds and nothing uses."""
    import torch

    gc.collect()  # recorded graphs and their buffers know each other
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
