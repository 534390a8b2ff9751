"""Give the linear maps of a left-to-right model that are kept in fewer bits to the Triton kernel, where that runs and is
right."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from palimpsest_engine.cuda import kernels
from palimpsest_engine.model.quantised_linear import Multiply, plain, quantised_linears
from palimpsest_engine.model.quantize import Format, Quantised, quantise

_TRIAL = 0.02  # four times the error that bfloat16 makes
# Rows from which the weight is brought back first: arithmetic is what takes the time then, and torch's own product does that
# faster than the kernel, which decodes the weight again for every 64 rows. An estimate; nobody has measured it.
MANY = 1024


def give_kernel(model: Any) -> None:
    """Let the kernel multiply by the quantised maps of a model, if it has any and the kernel can be used."""
    for each in quantised_linears(model):
        each.multiply = by_kernel(model.device, each.format)


@cache
def by_kernel(device: torch.device, format: Format) -> Multiply | None:
    """Return the kernel for maps in a format, or None if it cannot be compiled for this device or is wrong on a trial.

    The first call takes seconds and waits for the device.
    """
    if device.type != "cuda" or not kernels.usable(device):
        return None

    def off() -> float:
        from palimpsest_engine.cuda.kernels.linear import linear

        return trial(device, format, linear)

    return multiply if kernels.right(f"linear maps in the format {format}", device, off, _TRIAL) else None


def multiply(hidden: Tensor, weight: Quantised, bias: Tensor | None) -> Tensor:
    """Compute `QuantisedLinear.forward` by the kernel, for many rows by the plain form."""
    from palimpsest_engine.cuda.kernels.linear import linear

    return (linear if hidden.numel() < MANY * weight.width else plain)(hidden, weight, bias)


def trial(device: torch.device, format: Format, linear: Multiply) -> float:
    """Return the larger ‖difference‖ / ‖exact‖ of `linear` in bfloat16 against the plain form in float32, for one row and
    for some, on random weights in which every code occurs; their sizes are no multiples of a block's."""
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(size, generator=generator).to(device) for name, size in _SIZES.items()}
    weight, bias = quantise(drawn["weight"], format), drawn["bias"].to(torch.bfloat16)
    found = []
    for rows in (1, len(drawn["hidden"])):
        hidden = drawn["hidden"][:rows].to(torch.bfloat16)
        exact = plain(hidden.float(), weight, bias.float())
        found.append((linear(hidden, weight, bias).float() - exact).norm() / exact.norm())
    return float(torch.stack(found).max())  # NaN, if there is one


_SIZES = {"weight": (200, 336), "bias": (200,), "hidden": (40, 336)}
