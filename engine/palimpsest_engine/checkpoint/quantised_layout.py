"""Tell from the headers of quantised files which of their tensors make which tensor of the class. Reads no weights.

Other programs store each expert as linear maps of its own, and beside each quantised map its scales. Every tensor of a file
is a part of one of the class's, or of a kind that is left out on purpose (`_left_out`); nothing is passed over in silence.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint.header import FLOATS, QuantisedShapes, for_pictures, read_header
from palimpsest_engine.checkpoint.quantization_config import Kind, Scheme
from palimpsest_engine.checkpoint.rules import shown
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint

Header = Mapping[str, Any]  # what a file says of one tensor: dtype, shape

# What is about activations, beside a quantised map, and about the cache of keys and values: here neither is quantised.
_OF_INPUTS = ("input_scale", "input_zero_point", "input_global_scale")
_OF_THE_CACHE = re.compile(r".+\.self_attn\.((k_proj|v_proj)\.)?(k_scale|v_scale)")
_ENCODER, _DECODER = "model.encoder.language_model.", "model.decoder."
_EXPERT = re.compile(r"(.+\.experts)\.(\d{1,6})\.(gate_proj|up_proj|down_proj)")
_MADE_OF = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}
# The tensors of a quantised map by the last part of their names, its codes first, and the number formats that each may have.
_PARTS: dict[Kind, dict[str, tuple[str, ...]]] = {
    "int8": {"weight": ("I8",), "weight_scale": FLOATS},
    "fp8": {"weight": ("F8_E4M3",), "weight_scale": FLOATS},
    "nvfp4": {"weight_packed": ("U8",), "weight_scale": ("F8_E4M3",), "weight_global_scale": ("F32",)},
    "modelopt": {"weight": ("U8",), "weight_scale": ("F8_E4M3",), "weight_scale_2": ("F32",)},
    "gptq": {"qweight": ("I32",), "scales": FLOATS, "qzeros": ("I32",)},
}


@dataclass(frozen=True, slots=True)
class Map:
    """A linear map in a file. names: of its tensors, by the last part. shape: of its weight, `[outputs, inputs]`. group: the
    inputs that share a scale, where not all do."""

    kind: Kind
    names: Mapping[str, str]
    shape: tuple[int, ...]
    group: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """The contents of some files. plain: the class's tensors that they hold as they are. maps: those that are one quantised
    map. experts: those that are made of maps, for each expert the ones whose outputs follow each other. left_out: names of
    tensors that are not looked at, on purpose. shapes: of the class's tensors."""

    plain: frozenset[str]
    maps: Mapping[str, Map]
    experts: Mapping[str, tuple[tuple[Map, ...], ...]]
    left_out: tuple[str, ...]
    shapes: QuantisedShapes


def layout_of(files: Iterable[Path], scheme: Scheme, where: Path) -> Layout:
    """Return what quantised files hold. Raises UnsupportedCheckpoint, and CheckpointBroken for what fits nothing."""
    headers: dict[str, Header] = {}
    for path in files:
        for name, said in read_header(path).items():
            if name in headers:
                raise CheckpointBroken(f"The weights in {where} hold {name} twice.")
            headers[name] = said
    left_out = tuple(name for name in headers if _left_out(name, headers))
    out = frozenset(left_out)
    modules: dict[str, dict[str, str]] = defaultdict(dict)
    plain: dict[str, Header] = {}
    for name in (name for name in headers if name not in out):
        module, _, part = name.rpartition(".")
        if any(part in parts for parts in _PARTS.values()):
            modules[module][part] = name
        else:
            plain[name] = headers[name]
    maps = {}
    for module, parts in modules.items():
        found = _map_of(module, parts, headers, scheme, where)
        if found.kind == "plain" and not _EXPERT.fullmatch(module):
            plain[found.names["weight"]] = headers[found.names["weight"]]
        else:
            maps[module] = found
    for module in [module for module in maps if _is_second(module, maps)]:
        left_out += tuple(maps.pop(module).names.values())
    for name, header in plain.items():
        if header["dtype"] not in FLOATS:
            raise UnsupportedCheckpoint(
                f"{where} holds {name} as {shown(header['dtype'])}, which its config does not explain."
            )
    return _arranged(plain, maps, left_out, where)


def _left_out(name: str, headers: Mapping[str, Header]) -> bool:
    """Return whether a tensor is not looked at, on purpose."""
    module, _, part = name.rpartition(".")
    beside = part in _OF_INPUTS and any(f"{module}.{scales}" in headers for scales in ("weight_scale", "scales"))
    return beside or for_pictures(name) or bool(_OF_THE_CACHE.fullmatch(name))


def _is_second(module: str, maps: Mapping[str, Map]) -> bool:
    """Return whether a map is the encoder's, and the decoder's is there, too, quantised likewise.

    The class has one for both. A program that rounds them apart stores two roundings of the same weights, of which the
    decoder's is used.
    """
    first = maps.get(module.replace(_ENCODER, _DECODER, 1)) if module.startswith(_ENCODER) else None
    mine = maps[module]
    return first is not None and first.kind == mine.kind != "plain" and first.shape == mine.shape


def _map_of(module: str, parts: dict[str, str], headers: Mapping[str, Header], scheme: Scheme, where: Path) -> Map:
    """Return the map that the tensors of one module make."""
    dtypes = {part: str(headers[name]["dtype"]) for part, name in parts.items()}
    if parts.keys() == {"weight"} and dtypes["weight"] in FLOATS:
        return Map("plain", parts, tuple(headers[parts["weight"]]["shape"]))
    for kind, wanted in _PARTS.items():
        codes = next(iter(wanted))
        if kind not in scheme.kinds or dtypes.get(codes) not in wanted[codes]:
            continue
        if missing := sorted(wanted.keys() - parts.keys()):
            raise CheckpointBroken(f"The weights in {where} lack {module}.{missing[0]}: its weights cannot be read.")
        if odd := [part for part in parts if dtypes[part] not in wanted.get(part, ())]:
            raise CheckpointBroken(
                f"{where} holds {module}.{odd[0]} as {shown(dtypes[odd[0]])}, which does not belong to {kind} weights."
            )
        return _checked(
            kind, module, parts, {part: tuple(headers[name]["shape"]) for part, name in parts.items()}, scheme, where
        )
    raise CheckpointBroken(
        f"{where} holds {module} as {', '.join(f'{part} in {shown(dtypes[part])}' for part in sorted(parts))}, which its "
        f"config ({scheme.method}) does not explain."
    )


def _checked(
    kind: Kind, module: str, parts: dict[str, str], shapes: Mapping[str, tuple[int, ...]], scheme: Scheme, where: Path
) -> Map:
    """Return a quantised map. Raises CheckpointBroken if the shapes of its tensors do not fit each other."""
    codes = shapes[next(iter(_PARTS[kind]))]
    fits = len(codes) == 2
    outputs, inputs = (*codes, 0, 0)[:2]
    group, wanted = 0, dict[str, list[tuple[int, ...]]]()
    if kind == "gptq":
        outputs, inputs, group = inputs, outputs * 8, scheme.group
        groups = math.ceil(inputs / group)
        wanted = {"scales": [(groups, outputs)], "qzeros": [(groups, math.ceil(outputs / 8))]}
    elif kind in ("nvfp4", "modelopt"):
        inputs, group = inputs * 2, scheme.group
        fits = fits and inputs % group == 0
        whole = "weight_global_scale" if kind == "nvfp4" else "weight_scale_2"
        wanted = {"weight_scale": [(outputs, inputs // group)], whole: [(), (1,)]}
    else:
        wanted = {"weight_scale": [(outputs, 1), (outputs,), (1,), ()]}
    for part, fitting in wanted.items():
        if not fits or shapes[part] not in fitting:
            raise CheckpointBroken(
                f"{module}.{part} in {where} has the shape {list(shapes[part])}, which does not fit codes of the shape "
                f"{list(codes)} ({kind})."
            )
    return Map(kind, parts, (outputs, inputs), group)


def _arranged(plain: Mapping[str, Header], maps: Mapping[str, Map], left_out: tuple[str, ...], where: Path) -> Layout:
    """Arrange maps by the names of the class's tensors."""
    shapes: dict[str, tuple[int, ...]] = {name: tuple(header["shape"]) for name, header in plain.items()}
    numbered: dict[str, dict[tuple[int, str], Map]] = defaultdict(dict)
    single: dict[str, Map] = {}
    for module, each in maps.items():
        if expert := _EXPERT.fullmatch(module):
            numbered[expert[1]][int(expert[2]), expert[3]] = each
        else:
            single[f"{module}.weight"] = each
    shapes |= {name: each.shape for name, each in single.items()}
    experts: dict[str, tuple[tuple[Map, ...], ...]] = {}
    for module, found in numbered.items():
        count = min(1 + max(number for number, _ in found), len(found))  # not as many as a number in a name makes up
        for matrix, made_of in _MADE_OF.items():
            wanted = [[(number, part) for part in made_of] for number in range(count)]
            if missing := [key for row in wanted for key in row if key not in found]:
                number, part = missing[0]
                raise CheckpointBroken(
                    f"The weights in {where} do not fit its config: {len(missing)} missing keys, first "
                    f"{module}.{number}.{part}."
                )
            name = f"{module}.{matrix}"
            experts[name] = tuple(tuple(found[key] for key in row) for row in wanted)
            shapes[name] = (count, *_stacked(experts[name], name, where))
    kinds = {each.kind for rows in experts.values() for row in rows for each in row}
    own: Quantization = "none"
    if len(kinds) == 1 and (kind := next(iter(kinds))) in ("int8", "fp8"):
        own = kind
    return Layout(frozenset(plain), single, experts, left_out, QuantisedShapes(shapes, own))


def _stacked(rows: tuple[tuple[Map, ...], ...], name: str, where: Path) -> tuple[int, int]:
    """Return the shape that each expert's maps have, one below the other. Raises CheckpointBroken if they differ."""
    found = {tuple(each.shape for each in row) for row in rows}
    shapes = next(iter(found))
    if len(found) > 1 or any(len(each) != 2 or each[1] != shapes[0][1] for each in shapes):
        raise CheckpointBroken(f"The experts of {name} in {where} have different shapes.")
    return sum(each[0] for each in shapes), shapes[0][1]
