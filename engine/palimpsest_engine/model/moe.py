"""Compute a mixture's experts on quantised weights, instead of the class's own module. Knows nothing of the routing.

The plain form here defines the result: the class's own operations on weights brought back to the input's format, an expert
at a time. On a GPU `cuda/experts.py` sets `grouped` to kernels that never write those weights to memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest_engine.engine import Quantization
from palimpsest_engine.model.quantised_linear import QuantisedLinear
from palimpsest_engine.model.quantize import EXPERTS, MAPS, Format, Quantised, dequantised, empty, half_steps, quantise

Matrix = Literal["gate_up_proj", "down_proj"]
MATRICES: tuple[Matrix, ...] = ("gate_up_proj", "down_proj")
Grouped = Callable[[Tensor, Tensor, Tensor, Quantised, Quantised], Tensor]


class QuantisedExperts(nn.Module):
    """Hold E experts of two weights each, `gate_up_proj [E, 2 * intermediate, hidden]` and
    `down_proj [E, hidden, intermediate]`, in a format. They are undefined until each was `put`.

    grouped: computes all experts at once; None for the plain form.
    """

    def __init__(self, experts: Any, format: Format, device: torch.device | str) -> None:
        """Make room for the experts of the class's module `experts`, whose weights may be on the meta device."""
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
        self.grouped: Grouped | None = None

    def weights(self, name: Matrix, which: slice | int = slice(None)) -> Quantised:
        """Return one of the two weights, of the experts asked for."""
        codes, scales = self.get_buffer(f"{name}_codes"), self.get_buffer(f"{name}_scales")
        return Quantised(self.format, codes[which], scales[which], self.widths[name])

    def shape(self, name: Matrix) -> tuple[int, ...]:
        """Return the shape of the weight that the class has in its place."""
        return (*self.get_buffer(f"{name}_codes").shape[:2], self.widths[name])

    def like(self, name: Matrix) -> Tensor:
        """Return an undefined tensor for one expert's weight, in float32 on the same device."""
        return torch.empty(self.shape(name)[1:], dtype=torch.float32, device=self.get_buffer(f"{name}_codes").device)

    def put(self, name: Matrix, expert: int, weight: Tensor) -> None:
        """Quantise a weight of one expert, `[outputs, inputs]`, into its place."""
        self.take(name, expert, quantise(weight.to(self.get_buffer(f"{name}_codes").device), self.format))

    def take(self, name: Matrix, expert: int, made: Quantised) -> None:
        """Copy a weight of one expert that is in this format already into its place."""
        assert made.format == self.format
        place = self.weights(name, expert)
        place.codes.copy_(made.codes)
        place.scales.copy_(made.scales)

    def off(self, name: Matrix, expert: int, weight: Tensor) -> float:
        """Return how far one expert is at most from the weight that it was made of, in half steps (`quantize.half_steps`)."""
        place = self.weights(name, expert)
        return float(half_steps(weight.detach().to(place.codes.device), place).max())

    def forward(self, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        """Compute as the class does: hidden `[T, hidden]`, each position's experts `index [T, K]` and their shares
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
    """Compute `QuantisedExperts.forward` an expert at a time."""
    out = torch.zeros_like(hidden)
    for expert in torch.unique(index).tolist():
        token, place = torch.where(index == expert)
        gate, upper = F.linear(hidden[token], dequantised(gate_up.part(expert), hidden.dtype)).chunk(2, dim=-1)
        said = F.linear(act_fn(gate) * upper, dequantised(down.part(expert), hidden.dtype))
        out.index_add_(0, token, (said * weights[token, place, None]).to(out.dtype))
    return out


def quantised_experts(model: Any) -> list[QuantisedExperts]:
    """Return the quantised experts of each layer of a model, or none."""
    found = (layer.experts for layer in model.model.decoder.layers)
    return [each for each in found if isinstance(each, QuantisedExperts)]


def make_room(model: Any, quantization: Quantization, device: torch.device | str) -> None:
    """Replace every layer's experts with `QuantisedExperts`, and its other linear maps with `QuantisedLinear` if this
    quantization is of them, too: one module for both the encoder's and the decoder's layer, as the class ties them."""
    for encoder, decoder in zip(model.model.encoder.language_model.layers, model.model.decoder.layers, strict=True):
        decoder.experts = encoder.experts = QuantisedExperts(decoder.experts, EXPERTS[quantization], device)
        if quantization in MAPS:
            for path in paths_of_maps(decoder):
                made = QuantisedLinear(decoder.get_submodule(path), MAPS[quantization], device)
                encoder.set_submodule(path, made)
                decoder.set_submodule(path, made)


def paths_of_maps(layer: Any) -> list[str]:
    """Return the names of a layer's large linear maps, those of attention and of the dense path. The router's is small, and
    decides."""
    return [
        f"{part}.{name}"
        for part in ("self_attn", "mlp")
        for name, module in layer.get_submodule(part).named_children()
        if isinstance(module, nn.Linear)
    ]
