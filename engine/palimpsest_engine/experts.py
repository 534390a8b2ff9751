"""A mixture's experts on quantised weights, in the place of the class's own module; the routing is none of its business.

The plain form here says what is computed: the class's own operations on weights brought back to the input's format, an
expert at a time. On a GPU `kernels/experts.py` computes the same without ever writing those weights to memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest_engine import kernels
from palimpsest_engine.quantise import Format, Quantised, dequantised, empty, half_steps, quantise

Matrix = Literal["gate_up_proj", "down_proj"]
MATRICES: tuple[Matrix, ...] = ("gate_up_proj", "down_proj")
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
        self.activation: str = experts.config.hidden_activation
        self.grouped = self._grouped(torch.device(device))

    def _grouped(self, device: torch.device) -> Grouped | None:
        """What computes it on this device, if there is more than the plain form."""
        if device.type != "cuda" or not kernels.usable(device) or self.activation != _GELU:
            return None
        from palimpsest_engine.kernels.experts import grouped_experts

        return grouped_experts

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
        out = torch.zeros_like(hidden)
        for expert in torch.unique(index).tolist():
            token, place = torch.where(index == expert)
            gate_up = dequantised(self.weights("gate_up_proj", expert), hidden.dtype)
            gate, up = F.linear(hidden[token], gate_up).chunk(2, dim=-1)
            down = F.linear(self.act_fn(gate) * up, dequantised(self.weights("down_proj", expert), hidden.dtype))
            out.index_add_(0, token, (down * weights[token, place, None]).to(out.dtype))
        return out


def quantised_experts(model: Any) -> list[QuantisedExperts]:
    """Those of each layer of a model, or none."""
    found = (layer.experts for layer in model.model.decoder.layers)
    return [each for each in found if isinstance(each, QuantisedExperts)]


def make_room(model: Any, format: Format, device: torch.device | str) -> None:
    """Put `QuantisedExperts` in the place of every layer's experts, one for the encoder's and the decoder's layer, which
    the class ties anyway."""
    for encoder, decoder in zip(model.model.encoder.language_model.layers, model.model.decoder.layers, strict=True):
        decoder.experts = encoder.experts = QuantisedExperts(decoder.experts, format, device)
