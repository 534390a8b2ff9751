"""Read what a config says of how its weights are quantised, and refuse what is not loaded. Reads no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from palimpsest_engine.checkpoint.rules import shown
from palimpsest_engine.errors import UnsupportedCheckpoint

# How one tensor of a file is stored. nvfp4 and modelopt: four bits in floating point, with a scale for each 16 inputs, as
# compressed-tensors and as ModelOpt name their parts. gptq: four bits, evenly spaced, as GPTQ packs them.
Kind = Literal["plain", "int8", "fp8", "nvfp4", "modelopt", "gptq"]
LOADED = (
    "compressed-tensors with INT8 or FP8 weights (symmetric, a scale for each output or one for all) or NVFP4, ModelOpt's "
    "NVFP4, AutoRound's symmetric INT4 (auto_round:auto_gptq)"
)
_FORMATS = ("int-quantized", "float-quantized", "naive-quantized", "mixed-precision", "nvfp4-pack-quantized")
_NVFP4_GROUP = 16


@dataclass(frozen=True, slots=True)
class Scheme:
    """The formats of a checkpoint's weights. method: its name for people. kinds: what its tensors may be. group: the inputs
    that share a scale."""

    method: str
    kinds: frozenset[Kind]
    group: int = _NVFP4_GROUP


def scheme_in(config: Mapping[str, Any], where: Path) -> Scheme | None:
    """Return how a config says that its weights are quantised; None if it does not.

    Raises UnsupportedCheckpoint for everything that is not loaded, with the name of the method and what is.
    """
    found = config.get("quantization_config")
    if not found:
        return None
    method = found.get("quant_method", "unknown") if isinstance(found, dict) else found
    try:
        if not isinstance(method, str) or not isinstance(found, dict) or method not in _READERS:
            raise _NotLoaded(method if isinstance(method, str) and method.isprintable() else shown(method))
        return _READERS[method](found)
    except _NotLoaded as error:
        raise UnsupportedCheckpoint(
            f"{where} is quantised ({error}), which this version does not load. It loads {LOADED}, GGUF files, "
            "and unquantised weights (bfloat16 or float32), whose experts it keeps in fewer bits itself: with the "
            "setting quantization (int8, fp8 or int4)."
        ) from None


class _NotLoaded(Exception):
    """A way of quantising, in words."""


def _compressed_tensors(found: Mapping[str, Any]) -> Scheme:
    """Read a config of the library compressed-tensors. What it says of activations and of the cache is about other programs'
    arithmetic: here both stay in the model's format."""
    name = f"compressed-tensors, {found.get('format')}"
    if found.get("format") not in _FORMATS:
        raise _NotLoaded(name)
    for key in ("sparsity_config", "transform_config"):
        if found.get(key):
            raise _NotLoaded(f"{name} with {key}")
    groups = found.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        raise _NotLoaded(f"{name} without config_groups")
    return Scheme(name, frozenset(_kind_of(each, name) for each in groups.values()))


def _kind_of(group: Any, name: str) -> Kind:
    """Return how the weights of one group of a config are stored."""
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        raise _NotLoaded(f"{name} with a group that does not say how its weights are stored")
    bits, kind, strategy = (weights.get(key) for key in ("num_bits", "type", "strategy"))
    said = f"{name}, {shown(bits)} bits of the type {shown(kind)}, a scale for each {shown(strategy)}"
    if weights.get("symmetric") is not True:
        raise _NotLoaded(f"{said}, not symmetric")
    if bits == 8 and strategy in ("channel", "tensor") and kind in ("int", "float"):
        return "int8" if kind == "int" else "fp8"
    if (bits, kind, strategy, weights.get("group_size")) == (4, "float", "tensor_group", _NVFP4_GROUP):
        return "nvfp4"
    raise _NotLoaded(said)


def _modelopt(found: Mapping[str, Any]) -> Scheme:
    """Read a config of NVIDIA's ModelOpt."""
    name = f"modelopt, {shown(found.get('quant_algo'))}"
    if found.get("quant_algo") != "NVFP4" or found.get("group_size", _NVFP4_GROUP) != _NVFP4_GROUP:
        raise _NotLoaded(name)
    return Scheme(name, frozenset(["modelopt"]))


def _auto_round(found: Mapping[str, Any]) -> Scheme:
    """Read a config of AutoRound. `extra_config` is about single modules, some of which stay as they were."""
    packing, bits = found.get("packing_format"), found.get("bits")
    name = f"auto-round, {shown(bits)} bits packed as {shown(packing)}"
    if (packing, bits, found.get("data_type", "int")) != ("auto_round:auto_gptq", 4, "int"):
        raise _NotLoaded(name)
    if found.get("sym") is not True:
        raise _NotLoaded(f"{name}, not symmetric")
    group, extra = found.get("group_size"), found.get("extra_config") or {}
    if type(group) is not int or group < 1:
        raise _NotLoaded(f"{name} in groups of {shown(group)}")
    for module, each in extra.items() if isinstance(extra, dict) else [("extra_config", None)]:
        if not isinstance(each, dict) or not (_sixteen(each) or _alike(each, group)):
            raise _NotLoaded(f"{name}, and {shown(module)} otherwise")
    return Scheme(name, frozenset(["gptq"]), group)


def _sixteen(module: Mapping[str, Any]) -> bool:
    """Return whether a module is said to stay as it was."""
    bits = module.get("bits")
    return type(bits) is int and bits >= 16


def _alike(module: Mapping[str, Any], group: int) -> bool:
    """Return whether a module is said to be stored as all others are."""
    usual = {"bits": 4, "sym": True, "group_size": group}
    return all(module.get(key, value) == value for key, value in usual.items())


_READERS = {
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
    "auto-round": _auto_round,
    "intel/auto-round": _auto_round,
}
