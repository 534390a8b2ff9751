"""Models of a published shape with random weights. Their time and memory are real; the text they write is noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, get_args

from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import OutOfMemory

Shape = Literal["26b", "26b-narrow"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
# google/diffusiongemma-26B-A4B-it. The width of the dense path is chosen so that the parameters add up to 25.2 billion.
_TEXT_26B = {
    "vocab_size": 262_144,
    "hidden_size": 2816,
    "intermediate_size": 2112,
    "num_hidden_layers": 30,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "global_head_dim": 512,
    "num_global_key_value_heads": 2,
    "sliding_window": 1024,
    "num_experts": 128,
    "top_k_experts": 8,
    "moe_intermediate_size": 704,
    "max_position_embeddings": 262_144,
}
# The same shape, thin enough to try the commands for the real one on a laptop.
_NARROW = {"vocab_size": 4096, "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 6, "head_dim": 16}
_NARROW |= {
    "global_head_dim": 32,
    "num_experts": 8,
    "top_k_experts": 2,
    "moe_intermediate_size": 16,
    "sliding_window": 96,
}


def config_of(shape: Shape, **more: Any) -> Any:
    """Return the class's config, with a minimal vision tower. more: replaces settings of the text stack."""
    from transformers import DiffusionGemmaConfig

    from palimpsest_engine.model.layers import TOKEN_VISION

    text = _TEXT_26B | (_NARROW if shape == "26b-narrow" else {}) | more
    length = 32 if shape == "26b-narrow" else 256
    return DiffusionGemmaConfig(text_config=text, vision_config=dict(TOKEN_VISION), canvas_length=length)


def parameters(config: Any) -> int:
    """Count the parameters of the text stack, tied ones once, from the config alone."""
    text = config.get_text_config()
    experts = text.num_experts * (3 * text.moe_intermediate_size + 1)  # 1: the router's
    others = text.vocab_size + 3 * text.intermediate_size  # the embedding, and the maps that tell of the step before
    maps = sum(map(math.prod, shapes_of_maps(text)))
    total: int = text.hidden_size * (others + text.num_hidden_layers * experts) + maps
    return total


def bytes_of(config: Any, dtype: str, quantization: Quantization = "none") -> int:
    """Return the bytes of the text stack."""
    width, text = {"float32": 4, "bfloat16": 2}[dtype], config.get_text_config()
    if quantization == "none":
        return width * parameters(config)
    from palimpsest_engine.model.quantize import EXPERTS, MAPS, stored_bytes

    hidden, middle = text.hidden_size, text.moe_intermediate_size
    layers = text.num_hidden_layers * text.num_experts
    experts = stored_bytes(2 * middle, hidden, EXPERTS[quantization]) + stored_bytes(
        hidden, middle, EXPERTS[quantization]
    )
    total: int = layers * experts + width * (parameters(config) - layers * 3 * hidden * middle)
    if quantization in MAPS:
        format = MAPS[quantization]
        total += sum(stored_bytes(*shape, format) - width * math.prod(shape) for shape in shapes_of_maps(text))
    return total


def shapes_of_maps(text: Any) -> Iterator[tuple[int, int]]:
    """Yield the shapes `[outputs, inputs]` of all linear maps of attention and of the dense path."""
    hidden, middle = text.hidden_size, text.intermediate_size
    for index, kind in enumerate(text.layer_types):
        layer = text.per_layer_config[index]
        keys, queries = layer.num_key_value_heads * layer.head_dim, text.num_attention_heads * layer.head_dim
        yield from ((queries, hidden), (keys, hidden), (hidden, queries))
        yield from [(keys, hidden)] if kind == "sliding_attention" else []  # the others' keys are their values
        yield from ((middle, hidden), (middle, hidden), (hidden, middle))


def random_model(shape: Shape, device: str, dtype: str = "bfloat16", quantization: Quantization = "none") -> Any:
    """Make a model of a shape, with random weights drawn directly on the device; experts are quantised one at a time.

    Raises OutOfMemory if the weights do not fit on the device.
    """
    import torch

    from palimpsest_engine.checkpoint.weights import draw, give_room, hollow

    config = config_of(shape)
    size = bytes_of(config, dtype, quantization)
    if device.startswith("cuda"):
        free = torch.cuda.mem_get_info(device)[0]
    else:
        import psutil

        free = psutil.virtual_memory().available
    if 1.02 * size > free:
        kept = "" if quantization == "none" else f" with its experts in {quantization}"
        raise OutOfMemory(
            f"A model of the shape {shape} takes {size / 2**30:.1f} GiB in {dtype}{kept}; "
            f"{free / 2**30:.1f} GiB is free on {device}."
        )
    model = hollow(config, getattr(torch, dtype))
    give_room(model, device, quantization)
    draw(model)
    return model
