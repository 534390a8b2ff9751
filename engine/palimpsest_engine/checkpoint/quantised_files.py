"""Read the tensors of quantised files by the names of the class, in our own formats where they are the same."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from palimpsest_engine.checkpoint.quantised_layout import Layout, Map
from palimpsest_engine.checkpoint.weights import Files, all_finite, brought_back, keys_unfit
from palimpsest_engine.errors import CheckpointBroken
from palimpsest_engine.model.quantize import Format, Quantised, as_it_is, dequantised

_LARGEST = 448.0  # of all codes in eight bits
_FP4 = [sign * size for sign in (1.0, -1.0) for size in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)]  # by code
_EIGHTS_LESS_ONE = 0x77777777  # GPTQ stores what stands for zero, less one


class QuantisedFiles:
    """The tensors of the class in quantised files (a `weights.Source`). Codes of eight bits and their scales are ours as they
    are in the file; what is in any other format is brought back to float32."""

    def __init__(self, folder: Path, files: Files, layout: Layout, names: list[str] | None = None) -> None:
        self.folder = folder
        self._files, self._layout = files, layout
        self._names = list(layout.shapes) if names is None else names

    @property
    def names(self) -> list[str]:
        """Return the names of all tensors, as the class has them."""
        return self._names

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, as the class has it, without reading it."""
        return self._layout.shapes[name]

    def whole(self, name: str) -> Tensor:
        """Return the tensor, on the CPU, in the file's number format or brought back to float32."""
        if name in self._layout.experts:
            return torch.stack([self.part(name, index) for index in range(self.shape(name)[0])])
        return brought_back(self.stored(name))

    def part(self, name: str, index: int) -> Tensor:
        """Return one part along the first dimension, as `whole` does; of experts, nothing else is read."""
        return brought_back(self.stored(name, index))

    def stored(self, name: str, index: int | None = None) -> Quantised:
        """Return a tensor, or one part of it along the first dimension, as the file has it."""
        if made_of := self._layout.experts.get(name):
            assert index is not None, f"{name} is read one expert at a time"
            return _stacked([self._read(each) for each in made_of[index]])
        if name in self._layout.maps:
            found = self._read(self._layout.maps[name])
            return found if index is None else found.part(index)
        return as_it_is(self._files.whole(name) if index is None else self._files.part(name, index))

    def unfit(self, kind: str, names: list[str]) -> CheckpointBroken:
        """Return the error for tensors that are missing, unexpected or mismatched."""
        return keys_unfit(self.folder, kind, names)

    def _read(self, found: Map) -> Quantised:
        """Read one linear map, and refuse numbers that cannot be."""
        if found.kind == "plain":
            return as_it_is(self._files.whole(found.names["weight"]))
        if found.kind == "gptq":
            return as_it_is(self._gptq(found))
        if found.kind == "int8" or found.kind == "fp8":
            return self._eight_bits(found, found.kind)
        return as_it_is(self._nvfp4(found))

    def _nvfp4(self, found: Map) -> Tensor:
        """Read four bits in floating point: the lower half of a byte is the first of two inputs."""
        names, theirs = found.names, found.kind == "modelopt"
        codes = self._files.whole(names["weight" if theirs else "weight_packed"])
        whole = self._files.whole(names["weight_scale_2" if theirs else "weight_global_scale"])
        scales = self._files.whole(names["weight_scale"]).float() * (whole if theirs else 1.0 / whole)
        values = torch.tensor(_FP4)[torch.stack((codes & 15, codes >> 4), -1).flatten(-2).int()]
        return self._scaled(values, scales, found)

    def _gptq(self, found: Map) -> Tensor:
        """Read four bits as GPTQ packs them: eight inputs in a word, the first in the lowest bits; 8 stands for zero."""
        words, zeros = self._files.whole(found.names["qweight"]), self._files.whole(found.names["qzeros"])
        if not bool((zeros == _EIGHTS_LESS_ONE).all()):
            raise CheckpointBroken(f"{found.names['qzeros']} in {self.folder} is not that of symmetric weights.")
        shifts = torch.arange(0, 32, 4, dtype=torch.int32)
        levels = (words.unsqueeze(1) >> shifts.view(1, -1, 1)) & 15  # [words, 8, outputs]
        return self._scaled(
            levels.flatten(0, 1).T.float() - 8.0, self._files.whole(found.names["scales"]).float().T, found
        )

    def _scaled(self, values: Tensor, scales: Tensor, found: Map) -> Tensor:
        """Return weights `[outputs, inputs]` by their codes' values and scales `[outputs, groups]`."""
        weights = values * scales.repeat_interleave(found.group, -1)[:, : values.shape[-1]]
        if not all_finite(weights):
            raise CheckpointBroken(
                f"The scales of {min(found.names.values())} in {self.folder} are not finite, or zero."
            )
        if bool((values != 0).any()) and not bool((weights != 0).any()):
            raise CheckpointBroken(f"The scales of {min(found.names.values())} in {self.folder} are all zero.")
        return weights

    def _eight_bits(self, found: Map, format: Format) -> Quantised:
        """Read codes of eight bits and their scales, one for each output; bfloat16 is exact in float32."""
        codes = self._files.whole(found.names["weight"])
        scales = self._files.whole(found.names["weight_scale"]).float().flatten().expand(found.shape[0])
        if not all_finite(scales * _LARGEST):
            raise CheckpointBroken(f"{found.names['weight_scale']} in {self.folder} makes weights that are not finite.")
        if bool((scales == 0).any()) and bool((codes.float().abs().amax(-1)[scales == 0] > 0).any()):
            raise CheckpointBroken(f"{found.names['weight_scale']} in {self.folder} is zero for weights that are not.")
        return Quantised(format, codes, scales, found.shape[-1])


def _stacked(parts: list[Quantised]) -> Quantised:
    """Return maps as one, the outputs of each below those of the one before; in float32 if their formats differ."""
    if len({each.format for each in parts}) > 1:
        parts = [as_it_is(dequantised(each)) for each in parts]
    first = parts[0]
    codes, scales = torch.cat([each.codes for each in parts]), torch.cat([each.scales for each in parts])
    return Quantised(first.format, codes, scales, first.width)
