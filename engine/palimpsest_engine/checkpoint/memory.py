"""Tell how much memory a checkpoint needs and whether a device has it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

import psutil

from palimpsest_engine.checkpoint.header import Shapes, for_pictures, is_expert
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import OutOfMemory

if TYPE_CHECKING:
    from palimpsest_engine.model.quantize import Format

_LAYER = re.compile(r"\.layers\.(\d+)\.")
_ROOM = 1.05  # how much more than its weights a model takes, at the least


def gib(size: float) -> str:
    """Write a number of bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def needed(shapes: Shapes, dtype: str, quantization: Quantization) -> float:
    """Return the bytes that a checkpoint's tensors take on the device, with the room that loading and a fill need."""
    width, total = {"float32": 4, "bfloat16": 2}[dtype], 0
    for name, shape in shapes.items():
        if for_pictures(name):
            continue
        if quantization != "none" and is_expert(name) and len(shape) == 3:
            from palimpsest_engine.model.quantize import stored_bytes

            total += shape[0] * stored_bytes(shape[1], shape[2], quantization)
        else:
            total += width * math.prod(shape)
    return _ROOM * total


def is_behind(name: str, layers: int | None) -> bool:
    """Return whether a tensor belongs to a layer of text behind the first so many; None for all of them."""
    found = None if layers is None or for_pictures(name) else _LAYER.search(name)
    return found is not None and layers is not None and int(found[1]) >= layers


def first_layers_of(shapes: Shapes, layers: int | None) -> Shapes:
    """Return the shapes without those of the layers behind the first so many."""
    return {name: shape for name, shape in shapes.items() if not is_behind(name, layers)}


def room_on(device: str) -> tuple[str, float]:
    """Return (where, bytes free) for the memory that must hold all the weights."""
    import torch

    if device.startswith("cuda"):
        return f"on {device}", float(torch.cuda.mem_get_info(device)[0])
    return "of main memory", float(psutil.virtual_memory().available)


def that_fit(shapes: Shapes, device: str, dtype: str) -> dict[Quantization, float]:
    """Return the formats of experts with which the checkpoint fits, each with the bytes it needs; the most exact first."""
    found: dict[Quantization, float] = {each: needed(shapes, dtype, each) for each in get_args(Quantization)}
    return {each: size for each, size in found.items() if size <= room_on(device)[1]}


def check_memory(shapes: Shapes, device: str, dtype: str, quantization: Quantization = "none") -> None:
    """Raise `OutOfMemory` if the weights do not fit; it says what they need, what is free, and what to do."""
    wanted, (place, free) = needed(shapes, dtype, quantization), room_on(device)
    if wanted <= free:
        return
    fitting = [f"{each} would need {gib(size)}" for each, size in that_fit(shapes, device, dtype).items()]
    advice = f"set quantization ({', '.join(fitting)})" if fitting else "choose another device"
    kept = "" if quantization == "none" else f" with its experts in {quantization}"
    raise OutOfMemory(
        f"The checkpoint needs {gib(wanted)} in {dtype}{kept} and {gib(free)} {place} is free; "
        f"close something, {advice}, or use the embedded checkpoint (model: embedded)."
    )


def check_room(name: str, wanted: float, device: str, formats: Mapping[Format, float] | None = None) -> None:
    """Raise `OutOfMemory` if so many bytes do not fit on the device. formats: those that there are, and the bytes of each."""
    place, free = room_on(device)
    if wanted > free:
        fitting = [f"{each} would need {gib(size)}" for each, size in (formats or {}).items() if size <= free]
        advice = f"set quantization ({', '.join(fitting)}), " if fitting else ""
        raise OutOfMemory(
            f"{name} needs {gib(wanted)} and {gib(free)} {place} is free; close something, {advice}choose a smaller model "
            "(`palimpsest models list`), or use the embedded checkpoint."
        )
