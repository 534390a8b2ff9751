"""Tell how much memory a checkpoint needs, with the context that it reads, and whether a device has it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import psutil

from palimpsest_engine.checkpoint.header import QuantisedShapes, Shapes, for_pictures, is_expert, is_map
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import OutOfMemory

if TYPE_CHECKING:
    from palimpsest_engine.model.quantize import Format

_LAYER = re.compile(r"\.layers\.(\d+)\.")
_KEYS = re.compile(r"\.layers\.(\d+)\.self_attn\.k_proj\.weight$")
_ROOM = 1.05  # how much more than its weights a model takes, at the least, where nothing else is known
_ON_TOP = 1.01  # what an allocator loses of the weights
_OTHER = 2**28  # what a GPU's libraries, recorded graphs and the states of a pass take; an estimate
_TIMES = 3  # of a step's logits: they, the probabilities made of them, and those of the step before
CONTEXTS = (8192, 4096, 2048, 1024)  # tried in this order where a longer one does not fit


@dataclass(frozen=True, slots=True)
class Fill:
    """The memory that a fill takes beside the weights.

    sliding, full: bytes of keys and values of a token, in the layers that keep a window and in those that keep everything.
    window: tokens. logits: bytes of a step's.
    """

    sliding: int
    full: int
    window: int
    logits: int

    def bytes(self, context: int) -> float:
        """Return the bytes that a fill takes with a context of so many tokens: for a cache that can be rolled back, a copy of
        what the canvas sees of it, the logits, and the rest."""
        from palimpsest_engine.model.kv_cache import KEPT

        kept = min(context, self.window + KEPT) * self.sliding + context * self.full
        seen = min(context, self.window) * self.sliding + context * self.full
        return kept + seen + _TIMES * self.logits + _OTHER


def fill_of(shapes: Shapes, config: Mapping[str, Any], dtype: str, positions: int) -> Fill:
    """Return what a fill of a mixture takes. config: what config.json says; positions: of a canvas that a step decides on."""
    width = _width(dtype)
    text: Mapping[str, Any] = config.get("text_config", config)
    kinds, window = text.get("layer_types") or [], text.get("sliding_window") or 0
    taken = {"sliding_attention": 0, "full_attention": 0}
    vocabulary = 0
    for name, shape in shapes.items():
        if found := _KEYS.search(name):
            layer = int(found[1])
            kind = kinds[layer] if layer < len(kinds) and kinds[layer] in taken else "full_attention"
            taken[kind] += 2 * width * shape[0]  # values are as long as keys, also where they are the same
        elif name.endswith("embed_tokens.weight"):
            vocabulary = shape[0]
    return Fill(taken["sliding_attention"], taken["full_attention"], int(window), positions * vocabulary * width)


def gib(size: float) -> str:
    """Write a number of bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _width(dtype: str) -> int:
    return {"float32": 4, "bfloat16": 2}[dtype]


def kept_as(shapes: Shapes, quantization: Quantization) -> Quantization:
    """Return the format in which the experts are kept: with the setting "none" the one that the files have them in."""
    return shapes.own if quantization == "none" and isinstance(shapes, QuantisedShapes) else quantization


def weights(shapes: Shapes, dtype: str, quantization: Quantization) -> int:
    """Return the bytes that a checkpoint's tensors take on the device."""
    width, total, quantization = _width(dtype), 0, kept_as(shapes, quantization)
    for name, shape in shapes.items():
        format = format_of(name, shape, quantization)
        if for_pictures(name):
            continue
        if format is None:
            total += width * math.prod(shape)
        else:
            from palimpsest_engine.model.quantize import stored_bytes

            total += math.prod(shape[:-2]) * stored_bytes(shape[-2], shape[-1], format)
    return total


def format_of(name: str, shape: tuple[int, ...], quantization: Quantization) -> Format | None:
    """Return the format in which a tensor of a mixture is kept; None for the model's own."""
    if quantization == "none":
        return None
    from palimpsest_engine.model.quantize import EXPERTS, MAPS

    if is_expert(name) and len(shape) == 3:
        return EXPERTS[quantization]
    return MAPS.get(quantization) if is_map(name) and len(shape) == 2 else None


def needed(
    shapes: Shapes, dtype: str, quantization: Quantization, fill: Fill | None = None, context: int = CONTEXTS[-1]
) -> float:
    """Return the bytes that a checkpoint takes on the device, with the room that loading and a fill need. fill: None for an
    estimate by the weights."""
    total = weights(shapes, dtype, quantization)
    return _ROOM * total if fill is None else _ON_TOP * total + fill.bytes(context)


def is_behind(name: str, layers: int | None) -> bool:
    """Return whether a tensor belongs to a layer of text behind the first so many; None for all of them."""
    found = None if layers is None or for_pictures(name) else _LAYER.search(name)
    return found is not None and layers is not None and int(found[1]) >= layers


def first_layers_of(shapes: Shapes, layers: int | None) -> Shapes:
    """Return the shapes without those of the layers behind the first so many."""
    found = {name: shape for name, shape in shapes.items() if not is_behind(name, layers)}
    return QuantisedShapes(found, shapes.own) if isinstance(shapes, QuantisedShapes) else found


def room_on(device: str) -> tuple[str, float]:
    """Return (where, bytes free) for the memory that must hold all the weights."""
    import torch

    if device.startswith("cuda"):
        return f"on {device}", float(torch.cuda.mem_get_info(device)[0])
    return "of main memory", float(psutil.virtual_memory().available)


def longest(
    shapes: Shapes, dtype: str, quantization: Quantization, fill: Fill, free: float, most: int = CONTEXTS[0]
) -> int | None:
    """Return the longest context, of at most so many tokens, with which a mixture fits in so many bytes; or None."""
    tried = (most, *(each for each in CONTEXTS if each < most))
    return next((each for each in tried if needed(shapes, dtype, quantization, fill, each) <= free), None)


def that_fit(shapes: Shapes, device: str, dtype: str, fill: Fill | None = None) -> dict[Quantization, float]:
    """Return the formats of experts with which the checkpoint fits, if need be with the shortest context, each with the bytes
    it needs; the most exact first."""
    found: dict[Quantization, float] = {each: needed(shapes, dtype, each, fill) for each in get_args(Quantization)}
    return {each: size for each, size in found.items() if size <= room_on(device)[1]}


def smaller(shapes: Shapes, dtype: str, quantization: Quantization, fill: Fill | None = None) -> str:
    """Name the next smaller format with what it needs, for a sentence; "" if this is the smallest."""
    sizes = {each: needed(shapes, dtype, each, fill) for each in get_args(Quantization)}
    less = [each for each, size in sizes.items() if size < sizes[quantization]]
    return f"{less[0]}, which needs {gib(sizes[less[0]])}" if less else ""


def check_memory(
    shapes: Shapes, device: str, dtype: str, quantization: Quantization = "none", fill: Fill | None = None
) -> None:
    """Raise `OutOfMemory` if the weights do not fit; it says what they need, what is free, and what to do."""
    wanted, (place, free) = needed(shapes, dtype, quantization, fill), room_on(device)
    if wanted <= free:
        return
    fitting = [f"{each} would need {gib(size)}" for each, size in that_fit(shapes, device, dtype, fill).items()]
    advice = f"set quantization ({', '.join(fitting)})" if fitting else "choose another device"
    kept = "" if kept_as(shapes, quantization) == "none" else f" with its experts in {kept_as(shapes, quantization)}"
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
