"""Fill a mixture's model from its checkpoint, or from the copy of its quantised weights that an earlier start has kept.

Of the 26B in four bits 17 GB are read then, in place of 50. `kept.py` says where copies are.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from palimpsest_engine.checkpoint import kept
from palimpsest_engine.checkpoint.source import files_of, source_in
from palimpsest_engine.checkpoint.weights import Files, check_buffers, initialise, read
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import CheckpointBroken

log = logging.getLogger("palimpsest.engine")

WORTH = 2**30  # bytes of files that are less than this are read as fast as a copy
SAVING = 0.8  # a copy of more than this share of the files would not be worth its place


def fill(model: Any, folder: Path, dtype: str, quantization: Quantization, layers: int | None = None) -> None:
    """Fill a model that has room, from a copy if there is one, else from the checkpoint, and keep a copy then if that is
    worth its place. layers: of only so many of the first ones copies are neither read nor kept."""
    rounding = kept.quantised(quantization, dtype)
    may = quantization != "none" and layers is None
    if may and (copy := kept.kept(folder, rounding, quantization)) is not None:
        try:
            restore(model, Files(copy, sorted(copy.glob("*.safetensors"))))
            return
        except (CheckpointBroken, OSError, SafetensorError) as error:
            log.warning("The copy in %s is read no more: %s", copy, error)
    read(model, source_in(folder, layers))
    there = sum(path.stat().st_size for path in files_of(folder))
    size = sum(tensor.nbytes for tensor in own_tensors(model).values())
    if not may or there < WORTH or (size > SAVING * there and not folder.is_file()):
        return  # of a GGUF file a copy saves time: bringing its blocks back takes minutes
    if not kept.has_room(folder, size, quantization):
        log.info("There is no room to keep the quantised weights; the next start quantises them again.")
        return
    kept.keep(folder, rounding, lambda scratch: write_copy(model, scratch), quantization)


def own_tensors(model: Any) -> dict[str, Tensor]:
    """Return all tensors of a model by name, tied ones once, numbers in fp8 as the bytes that they are."""
    once = {id(tensor): (name, tensor) for name, tensor in reversed(model.state_dict(keep_vars=True).items())}
    return {name: as_bytes(tensor.detach()) for name, tensor in once.values()}


def as_bytes(tensor: Tensor) -> Tensor:
    """Return numbers in fp8 as bytes, and any others as they are."""
    return tensor.view(torch.uint8) if tensor.dtype == torch.float8_e4m3fn else tensor


def write_copy(model: Any, folder: Path) -> None:
    """Write all tensors of a model as they lie on its device, a layer a file; main memory holds one layer at most."""
    shards: dict[str, dict[str, Tensor]] = {}
    for name, tensor in own_tensors(model).items():
        layer = re.search(r"\.layers\.(\d+)\.", name)
        shards.setdefault(f"layer-{int(layer[1]):04}" if layer else "others", {})[name] = tensor
    for shard, tensors in shards.items():
        found = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(found, folder / f"{shard}.safetensors")


@torch.no_grad()
def restore(model: Any, files: Files) -> None:
    """Fill a model that has room from what `write_copy` wrote. Raises `CheckpointBroken` if that is of another model."""
    places = own_tensors(model)
    if odd := places.keys() ^ {*files.names}:
        raise files.unfit("other", sorted(odd))
    for name, place in places.items():
        tensor = files.whole(name)
        if tensor.shape != place.shape or tensor.dtype != place.dtype:
            raise files.unfit("mismatched", [name])
        place.copy_(tensor)
    initialise(model, {id(tensor) for tensor in model.state_dict(keep_vars=True).values()})
    check_buffers(model)
