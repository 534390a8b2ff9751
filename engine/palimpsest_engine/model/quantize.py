"""Quantise weights to eight or four bits and back: four formats, and how far off each may be. Knows tensors, nothing of
models.

Only weights are quantised: what meets them stays in the model's format, and they are brought back to it where they are
used. Zero stays zero in every format.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from palimpsest_engine.engine import Quantization

Format = Literal["int8", "fp8", "int4-fine", "int4"]
FORMATS: tuple[Format, ...] = get_args(Format)
Stored = Format | Literal["none"]
# The formats that each value of the setting `quantization` stands for: of a mixture's experts, or of all linear maps of a
# left-to-right model; and of a mixture's other linear maps, if those are not kept as they are.
EXPERTS: dict[Quantization, Format] = {
    "int8": "int8",
    "fp8": "fp8",
    "int4-fine": "int4-fine",
    "int4": "int4",
    "int4-small": "int4",
}
MAPS: dict[Quantization, Format] = {"int4-small": "int8"}
# Inputs that share a scale in four bits. `int4` has 64: with 32 the error is a tenth less and the experts of the 26B take 0.7
# GB more, with which they do not fit 18 GB; 128 does not divide their 704. A smallest value of each group's own is 3 % better
# for 0.2 GB. `int4-fine` has 16: a fifth less error for 2.1 GB, on cards of 24 GB; a matrix unit takes no fewer at once.
GROUPS: dict[str, int] = {"int4-fine": 16, "int4": 64}
# Inputs whose codes share bytes: input j of a block stands beside the one half a block behind it.
BLOCKS: dict[str, int] = {"int4-fine": 32, "int4": 64}
_OFFSET = 8  # what is added to a code in four bits, so that it is stored as 0 to 15
_FP8 = torch.float8_e4m3fn
_FP8_MOST = 448.0
_FP8_LEAST = 2.0**-6  # below it numbers of fp8 are evenly spaced
# Scales tried for a group in four bits, over that with which its largest weight is exact: a smaller one cuts that off and
# spaces all others more closely.
_TRIED = (1.05, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75)


@dataclass(frozen=True, slots=True)
class Quantised:
    """A weight `[..., outputs, width]` (width: inputs) in a format.

    int8, fp8: `codes [..., outputs, width]`, `scales [..., outputs]` in float32; a weight is code times scale.
    int4, int4-fine: `codes [..., outputs, blocks * BLOCK / 2]` bytes, `scales [..., outputs, groups]` in bfloat16. A scale
    may be negative. Of a block, byte j has input j in its lower half and input j + BLOCK / 2 in its upper, 8 added to both;
    the last block is filled up with zeros. A block is one group in int4, and in int4-fine two, its halves.
    none: a weight as it is, `codes`; what stands in `scales` means nothing.
    """

    format: Stored
    codes: Tensor
    scales: Tensor
    width: int

    def part(self, index: int | slice) -> Quantised:
        """Return one part along the first dimension, or several."""
        return Quantised(self.format, self.codes[index], self.scales[index], self.width)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.codes.nbytes + self.scales.nbytes


def as_it_is(weight: Tensor) -> Quantised:
    """Wrap a weight that is not quantised."""
    return Quantised("none", weight, weight, weight.shape[-1])


def stored_bytes(outputs: int, width: int, format: Format) -> int:
    """Return the bytes of a weight `[outputs, width]` in a format, scales included."""
    if format in GROUPS:
        padded = filled_up(width, format)
        return outputs * (padded // 2 + 2 * padded // GROUPS[format])
    return outputs * (width + 4)


def filled_up(width: int, format: str) -> int:
    """Return the inputs of a weight in four bits, with the zeros behind them that fill the last block up."""
    return math.ceil(width / BLOCKS[format]) * BLOCKS[format]


def empty(shape: tuple[int, ...], format: Format, device: torch.device | str) -> Quantised:
    """Return an undefined tensor for a weight of that shape."""
    *most, width = shape
    if format in GROUPS:
        padded = filled_up(width, format)
        codes = torch.empty(*most, padded // 2, dtype=torch.uint8, device=device)
        scales = torch.empty(*most, padded // GROUPS[format], dtype=torch.bfloat16, device=device)
        return Quantised(format, codes, scales, width)
    codes = torch.empty(shape, dtype=torch.int8 if format == "int8" else _FP8, device=device)
    return Quantised(format, codes, torch.empty(most, dtype=torch.float32, device=device), width)


def quantise(weight: Tensor, format: Format) -> Quantised:
    """Return the weight `[..., outputs, inputs]` in a format, each element at the code nearest to it.

    Raises ValueError for what is not finite or has no two dimensions.
    """
    if weight.dim() < 2:
        raise ValueError(f"A weight to quantise has outputs and inputs, not the shape {tuple(weight.shape)}.")
    exact = weight.detach().float()
    if not bool(torch.isfinite(exact).all()):
        raise ValueError("A weight holds numbers that are not finite.")
    if format in GROUPS:
        return _in_four_bits(exact, format)
    most = 127.0 if format == "int8" else _FP8_MOST
    scales = usable_scale(exact.abs().amax(-1) / most)
    levels = (exact / scales.unsqueeze(-1)).clamp_(-most, most)
    codes = levels.round_().to(torch.int8) if format == "int8" else levels.to(_FP8)
    return Quantised(format, codes, scales, weight.shape[-1])


def usable_scale(scales: Tensor) -> Tensor:
    """Return scales in which 1 stands for those too small to divide by: their weights are all zero, or nearly."""
    return torch.where(scales.abs() < torch.finfo(torch.float32).tiny, torch.ones_like(scales), scales)


def _in_four_bits(exact: Tensor, format: Format) -> Quantised:
    """Quantise to codes -8 to 7. The scale's sign puts the weight of the largest magnitude on the side with eight."""
    groups = grouped(exact, format)
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True)).squeeze(-1)
    best: Tensor | None = None
    for share in _TRIED:
        scales = usable_scale((largest * (share / -8.0)).to(torch.bfloat16).float())
        levels = (groups / scales.unsqueeze(-1)).round_().clamp_(-8, 7)
        error = (levels.mul_(scales.unsqueeze(-1)) - groups).square_().sum(-1)
        if best is None:
            best, least = scales, error
        else:
            best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    assert best is not None
    levels = (groups / best.unsqueeze(-1)).round_().clamp_(-8, 7)
    return Quantised(format, packed(levels.to(torch.int8), format), best.to(torch.bfloat16), exact.shape[-1])


def grouped(weight: Tensor, format: str) -> Tensor:
    """Return `[..., inputs]` as `[..., groups, GROUP]`, the last block filled up with zeros."""
    width = weight.shape[-1]
    filled = torch.nn.functional.pad(weight, (0, filled_up(width, format) - width))
    return filled.view(*weight.shape[:-1], -1, GROUPS[format])


def packed(codes: Tensor, format: str) -> Tensor:
    """Pack codes -8 to 7 `[..., groups, GROUP]` as bytes `[..., blocks * BLOCK / 2]`."""
    blocks = (codes + _OFFSET).to(torch.uint8).reshape(*codes.shape[:-2], -1, BLOCKS[format])
    low, high = blocks.chunk(2, -1)
    return (low | (high << 4)).flatten(-2)


def unpacked(codes: Tensor, format: str) -> Tensor:
    """Return the inverse of `packed`, `[..., groups, GROUP]`."""
    halves = codes.view(*codes.shape[:-1], -1, BLOCKS[format] // 2)
    whole = torch.cat((halves & 15, halves >> 4), -1).to(torch.int8) - _OFFSET
    return whole.view(*codes.shape[:-1], -1, GROUPS[format])


def dequantised(quantised: Quantised, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the weight `[..., outputs, width]` as the codes have it: exact in float32, rounded once in any other format."""
    if quantised.format == "none":
        return quantised.codes.to(dtype)
    scales = quantised.scales.float().unsqueeze(-1)
    if quantised.format in GROUPS:
        return (
            (unpacked(quantised.codes, quantised.format).float() * scales).flatten(-2)[..., : quantised.width].to(dtype)
        )
    return (quantised.codes.float() * scales).to(dtype)


def half_steps(weight: Tensor, quantised: Quantised) -> Tensor:
    """Return how far off each element is, `[..., outputs, width]`, over half the distance between the two codes around it:
    at most 1, apart from rounding, if these are the codes of this weight.

    What a scale of four bits cuts off is measured from the outermost code.
    """
    exact, back = weight.float(), dequantised(quantised)
    scales = quantised.scales.float().unsqueeze(-1)
    if quantised.format in GROUPS:
        groups = grouped(exact, quantised.format)
        scales = scales.expand_as(groups)
        ends = torch.stack((scales * -8, scales * 7))
        exact = groups.maximum(ends.amin(0)).minimum(ends.amax(0)).flatten(-2)[..., : quantised.width]
        half = scales.abs().flatten(-2)[..., : quantised.width] / 2
    elif quantised.format == "int8":
        half = scales / 2
    else:
        _, power = torch.frexp((exact / scales).abs().clamp(_FP8_LEAST, _FP8_MOST))
        half = scales * torch.exp2(power - 5.0)  # 2^power is twice the leading digit's value; three digits follow that
    return (back - exact).abs() / half
