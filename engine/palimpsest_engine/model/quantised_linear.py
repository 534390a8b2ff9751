"""Keep the linear maps of a left-to-right model in eight or four bits, and multiply by them in the input's number format.

The plain form here defines the result: torch's product with the weight brought back to the input's format, some outputs
at a time. It runs on every device and saves memory, not time. A row needs each code once: 0.53 bytes a weight in int4, 1
in int8 and fp8, where a product in bfloat16 reads 2. The plain form moves about 29 and 21 bytes a weight through memory,
because each of its steps writes what the next one reads; for many rows that is done once, on top of the product. On a GPU
`cuda/linears.py` sets `multiply` to a kernel that never writes the weights to memory.

torch's own kernels for a GPU have other formats: `_weight_int4pack_mm` wants a least value beside each scale, and
`_weight_int8pack_mm` scales in the input's format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest_engine.model.quantize import (
    GROUPS,
    Format,
    Quantised,
    dequantised,
    empty,
    half_steps,
    quantise,
    stored_bytes,
)

Multiply = Callable[[Tensor, Quantised, Tensor | None], Tensor]
PIECE = 2**24  # weights that are in full precision at once
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


class QuantisedLinear(nn.Module):
    """A linear map `[.., inputs]` to `[.., outputs]` in a format, undefined until its weight was `put`; its bias is not
    quantised.

    multiply: computes the product; None for the plain form.
    """

    def __init__(self, linear: nn.Linear, format: Format, device: torch.device | str) -> None:
        """Make room for the weight of `linear`, which may be on the meta device, and take over its bias."""
        super().__init__()
        self.format: Format = format
        self.out_features, self.in_features = linear.weight.shape
        room = empty((self.out_features, self.in_features), format, device)
        self.register_buffer("codes", room.codes)
        self.register_buffer("scales", room.scales)
        self.bias: Tensor | None
        self.register_parameter("bias", linear.bias)
        self.multiply: Multiply | None = None

    @property
    def quantised(self) -> Quantised:
        """Return the weight `[outputs, inputs]`."""
        return Quantised(self.format, self.get_buffer("codes"), self.get_buffer("scales"), self.in_features)

    def put(self, weight: Tensor) -> None:
        """Quantise a weight `[outputs, inputs]` into its place; no more than PIECE of it is on the device at once.

        Raises ValueError for what is not finite.
        """
        place = self.quantised
        for lines in pieces(place):
            made = quantise(weight[lines].to(place.codes.device), self.format)
            place.codes[lines].copy_(made.codes)
            place.scales[lines].copy_(made.scales)

    def take(self, made: Quantised) -> None:
        """Copy a weight that is in this format already into its place."""
        assert made.format == self.format
        place = self.quantised
        place.codes.copy_(made.codes)
        place.scales.copy_(made.scales)

    def off(self, weight: Tensor) -> float:
        """Return how far this is at most from the weight that it was made of, in half steps (`quantize.half_steps`)."""
        place, device = self.quantised, self.get_buffer("codes").device
        found = [half_steps(weight[lines].to(device), place.part(lines)).max() for lines in pieces(place)]
        return float(torch.stack(found).max())

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `hidden`."""
        return (self.multiply or plain)(hidden, self.quantised, self.bias)


def plain(hidden: Tensor, weight: Quantised, bias: Tensor | None) -> Tensor:
    """Compute `QuantisedLinear.forward`: hidden `[.., inputs]`, weight `[outputs, inputs]`, bias `[outputs]`."""
    return torch.cat(
        [
            F.linear(hidden, dequantised(weight.part(lines), hidden.dtype), None if bias is None else bias[lines])
            for lines in pieces(weight)
        ],
        -1,
    )


def pieces(weight: Quantised) -> Iterator[slice]:
    """Yield the outputs of a weight, in parts of at most PIECE weights (or one output)."""
    outputs, at_once = weight.codes.shape[0], max(1, PIECE // weight.width)
    return (slice(start, min(start + at_once, outputs)) for start in range(0, outputs, at_once))


def joined(maps: Sequence[QuantisedLinear]) -> Callable[[Tensor], Tensor]:
    """Return a function that computes maps of the same input and format, without biases, as one: `[.., inputs]` to
    `[.., outputs of all]`. Their codes and scales are views from now on: nothing is kept twice."""
    one = maps[0]
    codes = torch.cat([each.get_buffer("codes") for each in maps])
    scales = torch.cat([each.get_buffer("scales") for each in maps])
    start = 0
    for each in maps:
        end = start + each.out_features
        each.codes, each.scales = codes[start:end], scales[start:end]
        start = end
    whole = Quantised(one.format, codes, scales, one.in_features)
    return lambda hidden: (one.multiply or plain)(hidden, whole, None)


def quantised_linears(model: Any) -> list[QuantisedLinear]:
    """Return the quantised maps of a model, or none."""
    return [each for each in model.modules() if isinstance(each, QuantisedLinear)]


def make_room(model: Any, format: Format, device: torch.device | str) -> dict[str, QuantisedLinear]:
    """Replace the linear maps of a left-to-right model; return those that take their place, by the names of their weights.

    A head that is the embedding stays, as the embedding does.
    """
    made = dict[str, QuantisedLinear]()
    for path, module in list(model.named_modules()):
        name = f"{path}.weight"
        if isinstance(module, nn.Linear) and not (name == _HEAD and model.config.tie_word_embeddings):
            made[name] = QuantisedLinear(module, format_of(name, format), device)
            model.set_submodule(path, made[name])
    return made


def format_of(name: str, format: Format) -> Format:
    """Return the format of the weight of that name, where `format` is asked for: the head has no fewer than eight bits.

    In four bits it alone turned 7 % of the likeliest tokens of the 0.5B (docs/quantization.md). Eight take 0.26 GB more of
    a 7B.
    """
    return "int8" if name == _HEAD and format in GROUPS else format


def bytes_of(name: str, shape: tuple[int, ...], format: Format, width: int) -> int:
    """Return the bytes that a tensor of a left-to-right model takes where a format is asked for. width: the bytes of a number
    that is not quantised."""
    if len(shape) == 2 and name != _EMBEDDING:
        return stored_bytes(*shape, format_of(name, format))
    return width * math.prod(shape)
