"""Make the class's model without memory for its weights, and give it some: drawn at random, or read from files, a tensor at
a time. Knows nothing of settings or of what the weights mean."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import CheckpointBroken
from palimpsest_engine.model.moe import MATRICES, Matrix, QuantisedExperts, make_room
from palimpsest_engine.model.quantised_linear import QuantisedLinear, quantised_linears
from palimpsest_engine.model.quantize import Quantised, as_it_is, dequantised

HALF_A_STEP = 1.01  # and rounding: how far off a quantised weight may be from what is in the file


def hollow(config: Any, dtype: torch.dtype) -> Any:
    """Make a model of this config on the meta device, with its ties; buffers that the class wants in float32 are."""
    from transformers import DiffusionGemmaForBlockDiffusion

    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            model: Any = DiffusionGemmaForBlockDiffusion(config)
    finally:
        torch.set_default_dtype(usual)
    model.tie_weights()
    return model.eval()


def give_room(model: Any, device: str, quantization: Quantization) -> None:
    """Allocate memory on the device for everything in a hollow model, each tied tensor once. Buffers hold NaN until they
    are filled; parameters are undefined."""
    if quantization != "none":
        make_room(model, quantization, device)
    made: dict[int, Tensor] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None or not tensor.is_meta:
                    continue
                if id(tensor) not in made:
                    room = torch.empty_like(tensor, device=device)
                    if isinstance(tensor, nn.Parameter):
                        room = nn.Parameter(room, requires_grad=tensor.requires_grad)
                    elif room.is_floating_point():
                        room.fill_(torch.nan)
                    made[id(tensor)] = room
                tensors[name] = made[id(tensor)]


def draw(model: Any) -> None:
    """Draw random weights for a model that has room for them, as the class draws them; quantised experts one at a time."""
    initialise(model)
    for layer in (*model.model.encoder.language_model.layers, *model.model.decoder.layers):
        layer.layer_scalar.fill_(1.0)  # the class leaves the encoder's as it was made
    spread: float = model.config.get_text_config().initializer_range
    for experts in {layer.experts for layer in model.model.decoder.layers}:
        if isinstance(experts, QuantisedExperts):
            for name in MATRICES:
                for expert in range(experts.num_experts):
                    experts.put(name, expert, experts.like(name).normal_(0.0, spread))
    for each in quantised_linears(model):
        shape, device = (each.out_features, each.in_features), each.get_buffer("codes").device
        each.put(torch.empty(shape, device=device).normal_(0.0, spread))
    check_buffers(model)


def initialise(model: Any, filled: set[int] | None = None) -> None:
    """Run the class's own initialisation of all parameters and buffers whose id is not in `filled`."""
    for module in model.modules():
        module._is_hf_initialized = False
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            tensor._is_hf_initialized = filled is not None and id(tensor) in filled
    model.initialize_weights()


def check_buffers(model: Any) -> None:
    """Raise `AssertionError` if the class did not say what is in a buffer."""
    for name, buffer in model.named_buffers():
        if not name.endswith(("_codes", "_scales")) and buffer.is_floating_point():
            assert not bool(buffer.isnan().any()), f"{name} was never filled"


def all_finite(tensor: Tensor) -> bool:
    """Return whether there is no NaN and no infinity: their sum would be one, and takes no memory."""
    return bool(torch.isfinite(tensor.sum(dtype=torch.float32)))


def brought_back(stored: Quantised) -> Tensor:
    """Return weights in float32; those that are not quantised as they are."""
    return stored.codes if stored.format == "none" else dequantised(stored)


class Source(Protocol):
    """A supply of a model's tensors, by the names and in the layout of the class, whatever the files have."""

    folder: Path

    @property
    def names(self) -> list[str]:
        """Return the names of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        ...

    def whole(self, name: str) -> Tensor:
        """Return the tensor, on the CPU, in any number format that is not quantised."""
        ...

    def part(self, name: str, index: int) -> Tensor:
        """Return one part along its first dimension, as `whole` does."""
        ...

    def stored(self, name: str, index: int | None = None) -> Quantised:
        """Return a tensor, or one part of it, in the format in which the files have it ("none": as `whole` does)."""
        ...

    def unfit(self, kind: str, names: list[str]) -> CheckpointBroken:
        """Return the error for tensors that are missing, unexpected or mismatched."""
        ...


class Files:
    """The tensors in some safetensors files, by name, read one at a time, of experts one expert at a time. without: names
    that are not looked at."""

    def __init__(self, folder: Path, paths: list[Path], without: Callable[[str], bool] = lambda name: False) -> None:
        from safetensors import safe_open

        self.folder = folder
        self._where: dict[str, Any] = {}
        for path in paths:
            file: Any = safe_open(path, framework="pt")
            for name in file.keys():  # noqa: SIM118  it is no mapping
                if without(name):
                    continue
                if name in self._where:
                    raise CheckpointBroken(f"The weights in {folder} hold {name} twice.")
                self._where[name] = file

    @property
    def names(self) -> list[str]:
        """Return the names of all tensors."""
        return list(self._where)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return tuple(self._where[name].get_slice(name).get_shape())

    def whole(self, name: str) -> Tensor:
        """Return the tensor, on the CPU."""
        return self._checked(name, self._where[name].get_tensor(name))

    def part(self, name: str, index: int) -> Tensor:
        """Return one part along its first dimension, on the CPU; nothing else is read."""
        return self._checked(name, self._where[name].get_slice(name)[index])

    def stored(self, name: str, index: int | None = None) -> Quantised:
        """Return the tensor, or one part of it, as it is."""
        return as_it_is(self.whole(name) if index is None else self.part(name, index))

    def _checked(self, name: str, tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and not all_finite(tensor):
            raise CheckpointBroken(f"{name} in {self.folder} holds numbers that are not finite.")
        return tensor

    def unfit(self, kind: str, names: list[str]) -> CheckpointBroken:
        """Return the error for tensors that are missing, unexpected or mismatched."""
        return keys_unfit(self.folder, kind, names)


def keys_unfit(folder: Path, kind: str, names: list[str]) -> CheckpointBroken:
    """Return the error for tensors in a folder that are missing, unexpected or mismatched."""
    return CheckpointBroken(
        f"The weights in {folder} do not fit its config: {len(names)} {kind} keys, first {min(names)}."
    )


@torch.no_grad()
def read(model: Any, files: Source) -> None:
    """Fill a model that has room from files, each tensor exactly once, and check that the experts are what was read.

    Raises `CheckpointBroken` if a tensor is missing, unexpected, of another shape, there twice and different, or not what
    it was made of.
    """
    experts: dict[str, tuple[QuantisedExperts, Matrix]] = {}
    maps: dict[str, QuantisedLinear] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, QuantisedExperts):
            experts |= {f"{prefix}.{matrix}": (module, matrix) for matrix in MATRICES}
        elif isinstance(module, QuantisedLinear):
            maps[f"{prefix}.weight"] = module
    quantised = {
        id(buffer)
        for module in (*maps.values(), *(each for each, _ in experts.values()))
        for buffer in module.buffers()
    }
    places: dict[str, Tensor] = {
        name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) not in quantised
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in places.items()}
    shapes |= {name: module.shape(matrix) for name, (module, matrix) in experts.items()}
    shapes |= {name: (module.out_features, module.in_features) for name, module in maps.items()}
    if strange := [name for name in files.names if name not in shapes]:
        raise files.unfit("unexpected", strange)
    if odd := [name for name in files.names if files.shape(name) != shapes[name]]:
        raise files.unfit("mismatched", odd)
    filled: dict[object, str] = {}
    for name in files.names:
        if name in experts:
            fill_experts(files, name, *experts[name], filled)
        elif name in maps:
            fill_map(files, name, maps[name], filled)
        else:
            fill_tensor(files, name, places[name], filled)
    slots: dict[str, object] = {**{name: id(tensor) for name, tensor in places.items()}, **experts, **maps}
    if missing := [name for name, slot in slots.items() if slot not in filled]:
        raise files.unfit("missing", missing)
    for (module, matrix), name in ((slot, name) for slot, name in filled.items() if isinstance(slot, tuple)):
        one = random.randrange(module.num_experts)
        if module.off(matrix, one, files.part(name, one)) > HALF_A_STEP:
            raise CheckpointBroken(
                f"Expert {one} of {name} in {files.folder} is not what was read from there; load again."
            )
    if maps:
        name = random.choice([name for slot, name in filled.items() if isinstance(slot, QuantisedLinear)])
        if maps[name].off(files.whole(name)) > HALF_A_STEP:
            raise CheckpointBroken(f"{name} in {files.folder} is not what was read from there; load again.")
    initialise(model, {slot for slot in filled if isinstance(slot, int)})
    check_buffers(model)


def fill_tensor(files: Source, name: str, place: Tensor, filled: dict[object, str]) -> None:
    """Read a tensor into its place; if a tied one is there already, it must be the same."""
    tensor = files.whole(name)
    if before := filled.get(id(place)):
        if not torch.equal(place, tensor.to(place)):
            raise CheckpointBroken(f"The weights in {files.folder} differ in {before} and {name}, which are the same.")
        return
    place.copy_(tensor)
    filled[id(place)] = name


def fill_experts(
    files: Source, name: str, experts: QuantisedExperts, matrix: Matrix, filled: dict[object, str]
) -> None:
    """Read experts one after the other, and quantise those that the files do not have in the format of their place; only the
    one at hand is on the device unquantised."""
    slot = (experts, matrix)
    if before := filled.get(slot):
        raise CheckpointBroken(f"The weights in {files.folder} hold {before} and {name}, which are the same.")
    for index in range(experts.num_experts):
        try:
            stored = files.stored(name, index)
            if stored.format == experts.format:
                experts.take(matrix, index, stored)
            else:
                experts.put(matrix, index, brought_back(stored))
        except ValueError as error:
            raise CheckpointBroken(f"{name} in {files.folder} cannot be quantised: {error}") from None
    filled[slot] = name


def fill_map(files: Source, name: str, module: QuantisedLinear, filled: dict[object, str]) -> None:
    """Read a linear map, and quantise it if the files do not have it in the format of its place."""
    if before := filled.get(module):
        raise CheckpointBroken(f"The weights in {files.folder} hold {before} and {name}, which are the same.")
    try:
        stored = files.stored(name)
        if stored.format == module.format:
            module.take(stored)
        else:
            module.put(brought_back(stored))
    except ValueError as error:
        raise CheckpointBroken(f"{name} in {files.folder} cannot be quantised: {error}") from None
    filled[module] = name
