"""A mixture's experts on quantised weights, in the place of the class's own module; the routing is none of its business.

The plain form here says what is computed: the class's own operations on weights brought back to the input's format, an
expert at a time. On a GPU `kernels/experts.py` computes the same without ever writing those weights to memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest_engine.cuda import kernels
from palimpsest_engine.model.quantize import (
    Format,
    Quantised,
    Stored,
    as_it_is,
    dequantised,
    empty,
    half_steps,
    quantise,
)

Matrix = Literal["gate_up_proj", "down_proj"]
MATRICES: tuple[Matrix, ...] = ("gate_up_proj", "down_proj")
log = logging.getLogger("palimpsest.engine")
_TRIAL = 0.02  # four times what bfloat16 makes of it
_GELU = "gelu_pytorch_tanh"  # the activation that the kernel has
Grouped = Callable[[Tensor, Tensor, Tensor, Quantised, Quantised], Tensor]


class QuantisedExperts(nn.Module):
    """E experts of two weights each, `gate_up_proj [E, 2 * intermediate, hidden]` and `down_proj [E, hidden, intermediate]`,
    in a format. What they are is undefined until each was `put`."""

    def __init__(self, experts: Any, format: Format, device: torch.device | str) -> None:
        """For as many experts of the size as the class's module `experts` has, whose weights may be on the meta device."""
        super().__init__()
        self.format: Format = format
        self.num_experts: int = experts.gate_up_proj.shape[0]
        self.act_fn = experts.act_fn
        self.widths: dict[Matrix, int] = {}
        for name in MATRICES:
            room = empty(tuple(getattr(experts, name).shape), format, device)
            self.widths[name] = room.width
            self.register_buffer(f"{name}_codes", room.codes)
            self.register_buffer(f"{name}_scales", room.scales)
        there = torch.device(device)
        self.grouped = by_kernels(there, format) if experts.config.hidden_activation == _GELU else None

    def weights(self, name: Matrix, which: slice | int = slice(None)) -> Quantised:
        """One of the two, of the experts asked for."""
        codes, scales = self.get_buffer(f"{name}_codes"), self.get_buffer(f"{name}_scales")
        return Quantised(self.format, codes[which], scales[which], self.widths[name])

    def shape(self, name: Matrix) -> tuple[int, ...]:
        """That of the weight which the class has in its place."""
        return (*self.get_buffer(f"{name}_codes").shape[:2], self.widths[name])

    def like(self, name: Matrix) -> Tensor:
        """Room for one expert's weight in float32, on the same device; what is in it is undefined."""
        return torch.empty(self.shape(name)[1:], dtype=torch.float32, device=self.get_buffer(f"{name}_codes").device)

    def put(self, name: Matrix, expert: int, weight: Tensor) -> None:
        """Quantise a weight of one expert, `[outputs, inputs]`, into its place."""
        place = self.weights(name, expert)
        made = quantise(weight.to(place.codes.device), self.format)
        place.codes.copy_(made.codes)
        place.scales.copy_(made.scales)

    def off(self, name: Matrix, expert: int, weight: Tensor) -> float:
        """The largest distance from a weight that one expert's was to be made of, in half steps (`quantise.half_steps`)."""
        place = self.weights(name, expert)
        return float(half_steps(weight.detach().to(place.codes.device), place).max())

    def forward(self, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        """As the class's: hidden `[T, hidden]`, each position's experts `index [T, K]` and what each counts
        `weights [T, K]`; out `[T, hidden]`."""
        if self.grouped is not None:
            return self.grouped(hidden, index, weights, self.weights("gate_up_proj"), self.weights("down_proj"))
        return plain(hidden, index, weights, self.weights("gate_up_proj"), self.weights("down_proj"), self.act_fn)


def plain(
    hidden: Tensor,
    index: Tensor,
    weights: Tensor,
    gate_up: Quantised,
    down: Quantised,
    act_fn: Callable[[Tensor], Tensor],
) -> Tensor:
    """What `QuantisedExperts.forward` says, an expert at a time."""
    out = torch.zeros_like(hidden)
    for expert in torch.unique(index).tolist():
        token, place = torch.where(index == expert)
        gate, upper = F.linear(hidden[token], dequantised(gate_up.part(expert), hidden.dtype)).chunk(2, dim=-1)
        said = F.linear(act_fn(gate) * upper, dequantised(down.part(expert), hidden.dtype))
        out.index_add_(0, token, (said * weights[token, place, None]).to(out.dtype))
    return out


@cache
def by_kernels(device: torch.device, format: Stored) -> Grouped | None:
    """The kernels, if they can be compiled for this device and say what the plain form says on a trial. Waits for the
    device; the first call takes seconds."""
    if device.type != "cuda" or not kernels.usable(device):
        return None
    try:
        from palimpsest_engine.cuda.kernels.moe import grouped_experts

        off = trial(device, format, grouped_experts)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever it is, there is a plain form
        log.warning(
            "Kernels for experts in the format %s cannot be used on %s: %s",
            format,
            device,
            str(error).strip().split("\n")[0],
        )
        return None
    if not off < _TRIAL:  # NaN, too
        log.warning(
            "Kernels for experts in the format %s on %s are off by %.3f and not used; fills take longer.",
            format,
            device,
            off,
        )
        return None
    return grouped_experts


def trial(device: torch.device, format: Stored, grouped: Grouped) -> float:
    """‖difference‖ / ‖exact‖ in bfloat16, of random experts with all codes that there are, against the plain form in
    float32."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"gate_up": (3, 256, 192), "down": (3, 192, 128), "hidden": (40, 192), "scores": (40, 3)}
    drawn = {name: torch.randn(size, generator=generator).to(device) for name, size in sizes.items()}
    both = drawn["gate_up"] * 0.1, drawn["down"]
    gate_up, down = (as_it_is(each.to(torch.bfloat16)) if format == "none" else quantise(each, format) for each in both)
    counts, index = drawn["scores"].softmax(-1).topk(2, dim=-1)
    hidden = drawn["hidden"].to(torch.bfloat16)
    exact = plain(hidden.float(), index, counts, gate_up, down, lambda gate: F.gelu(gate, approximate="tanh"))
    found = grouped(hidden, index, counts, gate_up, down)
    return float((found.float() - exact).norm() / exact.norm())


def quantised_experts(model: Any) -> list[QuantisedExperts]:
    """Those of each layer of a model, or none."""
    found = (layer.experts for layer in model.model.decoder.layers)
    return [each for each in found if isinstance(each, QuantisedExperts)]


def make_room(model: Any, format: Format, device: torch.device | str) -> None:
    """Put `QuantisedExperts` in the place of every layer's experts, one for the encoder's and the decoder's layer, which
    the class ties anyway."""
    for encoder, decoder in zip(model.model.encoder.language_model.layers, model.model.decoder.layers, strict=True):
        decoder.experts = encoder.experts = QuantisedExperts(decoder.experts, format, device)
