"""Read and check the headers of safetensors files: names and shapes of tensors, without their numbers."""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint.rules import shown
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
         "BOOL": 1}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")
_LARGEST = 100_000_000  # bytes of a header
Shapes = dict[str, tuple[int, ...]]
_EXPERTS = re.compile(r"\.experts\.(gate_up_proj|down_proj)$")
_MAPS = re.compile(r"\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)\.weight$")
VISION = ("vision_tower", "embed_vision")  # modules of the encoder through which no text goes


class QuantisedShapes(Shapes):
    """Shapes of the class's tensors in files that are quantised. own: the format in which the files have the experts, if it
    is one of ours, and "none" otherwise."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], own: Quantization) -> None:
        super().__init__(shapes)
        self.own: Quantization = own


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Read what a safetensors file says of its tensors, by name (`dtype`, `shape`, `data_offsets`).

    Raises CheckpointBroken if that does not fit its length, UnsupportedCheckpoint for a pickle.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointBroken(f"{path} is a pipe or a device, not a file.")
    size = found.st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise UnsupportedCheckpoint(
                f"{path} is a pickle with a safetensors name; only safetensors are loaded, as a pickle can run code."
            )
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise CheckpointBroken(f"{path} is truncated or not a safetensors file ({size} bytes).")
        if length > _LARGEST:  # as the library has it; no more is read into memory
            raise CheckpointBroken(f"{path} has a header of {length:,} bytes; {_LARGEST:,} are possible.")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            header.pop("__metadata__", None)
            total = 0
            for name, tensor in header.items():
                begin, end = tensor["data_offsets"]
                if (
                    end - begin != math.prod(tensor["shape"]) * BYTES.get(tensor["dtype"], 0)
                    and tensor["dtype"] in BYTES
                ):
                    raise ValueError(name)
                total = max(total, end)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CheckpointBroken(f"{path} has a damaged safetensors header.") from None
    if size != 8 + length + total:
        raise CheckpointBroken(
            f"{path} is truncated or was added to: {size} bytes, its header promises {8 + length + total}."
        )
    return header


def shapes_in(files: Sequence[Path]) -> Shapes:
    """Return the shapes of all tensors in some safetensors files, by name."""
    return {name: tuple(tensor["shape"]) for path in files for name, tensor in read_header(path).items()}


def floats_in(files: Sequence[Path]) -> Shapes:
    """Return the shapes of all tensors, as `shapes_in` does. Raises UnsupportedCheckpoint for whole numbers."""
    for path in files:
        for name, tensor in read_header(path).items():
            if tensor["dtype"] not in FLOATS and not for_pictures(name):
                raise UnsupportedCheckpoint(
                    f"{path} holds {name} as {shown(tensor['dtype'])}; weights in {', '.join(FLOATS)} are loaded."
                )
    return shapes_in(files)


def is_expert(name: str) -> bool:
    """Return whether this is a tensor of the experts."""
    return bool(_EXPERTS.search(name))


def is_map(name: str) -> bool:
    """Return whether this is a large linear map of a layer: of attention, or of the dense path."""
    return bool(_MAPS.search(name)) and not for_pictures(name)


def has_mixture(shapes: Shapes) -> bool:
    """Return whether there is more than one expert a layer."""
    return any(shape[0] > 1 for name, shape in shapes.items() if is_expert(name))


def for_pictures(name: str) -> bool:
    """Return whether this is a tensor of the vision tower, which is not kept."""
    return name.startswith(tuple(f"model.encoder.{module}." for module in VISION))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
