"""Multiply dense layers in eight bits on a CPU: weights are rounded once, inputs row by row in each call.

torch's dynamic int8 product has one scale for all rows of its input, and a single large row would cost all others their
digits. Rows are therefore brought to the same size before, and back after. Knows tensors, nothing of models.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from palimpsest_engine.model.cpu_layers import exact_in_eight_bits

# Of torch's engines the fastest at one row, and the only one that does not keep a second copy of the weights.
ENGINE = "fbgemm"
ROWS = 128  # at once: with more, its sums no longer fit the processor's caches


@dataclass(frozen=True, slots=True)
class Rounded:
    """A matrix in eight bits: `codes [N, K]` int8 and `scales [N]` float32; a weight is code times scale."""

    codes: Tensor
    scales: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Rounded:
        """Round a matrix `[N, K]`: to 8 bits, or to 7 where the processor adds pairs of products in 16 bits."""
        most = 127 if exact_in_eight_bits() else 63
        exact = weight.detach().float()
        scales = exact.abs().amax(1).div_(most).clamp_min_(torch.finfo(torch.float32).tiny)
        return cls((exact / scales.unsqueeze(1)).round_().to(torch.int8), scales)

    @classmethod
    def joined(cls, parts: list[Rounded]) -> Rounded:
        """Stack matrices that read the same input."""
        if len(parts) == 1:
            return parts[0]
        return cls(torch.cat([part.codes for part in parts]), torch.cat([part.scales for part in parts]))

    def rows(self, ids: Tensor) -> Tensor:
        """Return some rows in float32, `[.., K]` for ids `[..]`."""
        return self.codes[ids].float() * self.scales[ids].unsqueeze(-1)


class Int8Linear(nn.Module):
    """A linear map in eight bits, `[.., K]` to `[.., N]` in float32. Its weights are packed: nothing can train it."""

    def __init__(self, weight: Rounded, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.codes.shape
        zeros = torch.zeros(self.out_features, dtype=torch.int64)
        usual = torch.backends.quantized.engine
        torch.backends.quantized.engine = ENGINE
        try:
            with warnings.catch_warnings():
                # There is no other way into this kernel, which is twice as fast as the ones that are to replace it.
                warnings.filterwarnings(
                    "ignore", message=".*quantized tensor creation functions.*", category=UserWarning
                )
                tensor = torch._make_per_channel_quantized_tensor(weight.codes, weight.scales.double(), zeros, 0)
            self.packed = torch.ops.quantized.linear_prepack(tensor, None)
        finally:
            torch.backends.quantized.engine = usual
        self.bias = None if bias is None else nn.Parameter(bias.detach().float(), requires_grad=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `hidden`."""
        rows = hidden.reshape(-1, self.in_features)
        out = (
            self._rows(rows) if len(rows) <= ROWS else torch.cat([self._rows(each) for each in torch.split(rows, ROWS)])
        )
        if self.bias is not None:
            out += self.bias
        return out.view(*hidden.shape[:-1], self.out_features)

    def _rows(self, rows: Tensor) -> Tensor:
        """Map rows of different sizes, each as if it were alone.

        torch rounds by the smallest and the largest number of its whole input; one more row, of -1 and 1, says what they are.
        """
        count = len(rows)
        size = rows.abs().amax(1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny)
        even = rows.new_zeros(count + 1, self.in_features)
        torch.div(rows, size, out=even[:count])
        even[count, 0], even[count, 1] = -1.0, 1.0
        out: Tensor = torch.ops.quantized.linear_dynamic(even, self.packed, False)
        return out[:count].mul_(size)


class Int8Embedding(nn.Module):
    """An embedding in eight bits, whose rows are read as they are asked for: pages that no token needs stay on disk."""

    def __init__(self, weight: Rounded, scale: float | None = None) -> None:
        super().__init__()
        self.rounded, self.scale = weight, scale

    def forward(self, ids: Tensor) -> Tensor:
        """Return `[.., d]` in float32 for ids `[..]`."""
        rows = self.rounded.rows(ids)
        return rows if self.scale is None else rows * self.scale


def available() -> bool:
    """Return whether this torch has the kernel for this processor."""
    x86 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return x86 and ENGINE in torch.backends.quantized.supported_engines
