"""Find, verify and read a denoiser: what was trained for the canvases of one left-to-right model. Knows nothing of fills.

It is a folder of safetensors files, `adapter-K-of-N.safetensors`, whose metadata has a note under `palimpsest`: which base it
is for, by the SHA-256 of its file, and how it denoises. Those that come with the package lie in `denoisers/`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest_engine.checkpoint import catalogue, store
from palimpsest_engine.checkpoint.header import digest, read_header
from palimpsest_engine.checkpoint.locate import pickles_in
from palimpsest_engine.checkpoint.rules import Rule, Unfit, checked, each, flag, number, one_of, whole
from palimpsest_engine.checkpoint.spec import Denoising
from palimpsest_engine.errors import CheckpointBroken, CheckpointMissing, UnsupportedCheckpoint

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest_engine.model.canvas import CanvasAdapter

SHIPPED = Path(__file__).parents[1] / "denoisers"
FORMATS = ("palimpsest-denoiser-1", "palimpsest-denoiser-2")  # in bfloat16; in int8, a scale for each direction
PLACES = ("qkv", "out", "gate_up", "down")
ROWS = ("mask_in", "filler_in", "filler_out")
_PART = re.compile(r"adapter-(\d+)-of-(\d+)\.safetensors")
# Of the note's shape, the keys of a Qwen2 config.
_KEYS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "mlp": "intermediate_size",
}


_SHAPE: dict[str, Rule] = {
    **dict.fromkeys((*_KEYS, "head"), whole(1, 1 << 20)),
    **dict.fromkeys(("theta", "eps"), number(0, 1 << 40)),
}
_NOTE: dict[str, Rule] = {
    "shape": lambda value: checked(value, _SHAPE),
    "rank": whole(1, 1 << 16),
    **dict.fromkeys(("mask_id", "filler_id"), whole(0, (1 << 24) - 1)),
    "noise": one_of("mask", "uniform"),
    "shift": flag,
    "sizes": each(whole(1, 4_096), 1, 64),
    "pins": each(whole(0, 4_096), 2, 2),
}


@dataclass(frozen=True, slots=True)
class Denoiser:
    """A verified denoiser. files: in order. rank: of its matrices. sizes: the hole sizes it was trained on. pins: fewest and
    most tokens of the suffix in its canvases. filler_id: what it puts after a middle that is shorter than its hole."""

    folder: Path
    files: tuple[Path, ...]
    format: str
    base_sha256: str
    rank: int
    denoising: Denoising
    filler_id: int
    sizes: tuple[int, ...]
    pins: tuple[int, int]
    shape: dict[str, Any]

    @property
    def name(self) -> str:
        """Name it as its folder is named."""
        return self.folder.name


def shipped(source: Path) -> Path | None:
    """Return the folder of the denoiser that comes with the package for this very file, or None."""
    if not source.is_file():
        return None
    return next(
        (each for each in sorted(SHIPPED.glob("*/")) if is_file_of(source, read_note(each)["base_sha256"])), None
    )


def is_file_of(source: Path, sha256: str) -> bool:
    """Return whether a file is the one of the catalogue with this SHA-256; it is hashed only if it has that one's size."""
    sizes = {file.sha256: file.size for entry in catalogue.entries() for file in entry.files}
    return sizes.get(sha256) == source.stat().st_size and sha256_of(source) == sha256


def sha256_of(source: Path) -> str:
    """Return the SHA-256 of a model's file: that of its record, if it was verified when it was fetched."""
    for model in store.installed():
        if model.path == source and (known := model.record.files[0].sha256):
            return known
    return digest(source)


def read_denoiser(folder: Path, source: Path, config: dict[str, Any]) -> Denoiser:
    """Read a denoiser's note and check it against a model: its file `source` and its `config`. Reads no matrices.

    Raises CheckpointMissing, UnsupportedCheckpoint, or CheckpointBroken if it is damaged or for another model.
    """
    note, files = read_note(folder), parts_of(folder)
    base = str(note["base_sha256"])
    here = sha256_of(source) if source.is_file() else None
    if here != base:
        said = "a folder" if here is None else f"SHA-256 {here[:12]}…"
        raise CheckpointBroken(
            f"The denoiser {folder.name} was trained for the file with the SHA-256 {base[:12]}…, and {source} is another "
            f"one ({said}): the same model in another quantisation is another one, too."
        )
    try:
        values = checked({key: note[key] for key in _NOTE}, _NOTE)
    except KeyError as error:
        raise CheckpointBroken(f"The denoiser in {folder} does not say how it denoises: {error} is missing.") from None
    except Unfit as error:
        raise CheckpointBroken(f"The denoiser in {folder} has an impossible value: {error}.") from None
    shape, rank, sizes, pins = values["shape"], values["rank"], values["sizes"], values["pins"]
    mask, filler, noise = values["mask_id"], values["filler_id"], values["noise"]
    vocabulary = config["vocab_size"]
    for name, token in (("mask", mask), ("filler", filler)):
        if not 0 <= token < vocabulary:
            raise CheckpointBroken(
                f"The denoiser in {folder} has {token} for its {name}, and the model has {vocabulary} ids."
            )
    if missing := [key for key in (*_KEYS, "head") if key not in shape]:
        raise CheckpointBroken(f"The denoiser in {folder} does not say its {missing[0]}.")
    for ours, theirs in _KEYS.items():
        if shape.get(ours) != config.get(theirs):
            raise CheckpointBroken(
                f"The denoiser in {folder} is for {shape.get(ours)} {ours}, and the model has {config.get(theirs)}."
            )
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if shape["head"] != width:
        raise CheckpointBroken(f"The denoiser in {folder} is for heads of {shape['head']}, and the model has {width}.")
    denoising = Denoising(noise, mask, shift=values["shift"], conditioned=False, revises=noise == "uniform")
    return Denoiser(folder, files, note["format"], base, rank, denoising, filler, sizes, (pins[0], pins[1]), shape)


def parts_of(folder: Path) -> tuple[Path, ...]:
    """Return the files of a denoiser, all of them and in order. Raises CheckpointMissing, UnsupportedCheckpoint."""
    if not folder.is_dir():
        raise CheckpointMissing(f"There is no folder {folder} with a denoiser.")
    found = {int(match[1]): (path, int(match[2])) for path in folder.iterdir() if (match := _PART.fullmatch(path.name))}
    if not found:
        if pickles := pickles_in(folder):
            raise UnsupportedCheckpoint(
                f"{folder} holds a pickle ({pickles[0]}); only safetensors are loaded, as a pickle can run code."
            )
        raise CheckpointMissing(f"{folder} holds no denoiser: there is no adapter-1-of-1.safetensors.")
    count = next(iter(found.values()))[1]
    if sorted(found) != list(range(1, count + 1)):
        raise CheckpointBroken(f"{folder} lacks files of its denoiser: there should be {count}.")
    return tuple(found[number][0] for number in sorted(found))


def read_note(folder: Path) -> dict[str, Any]:
    """Return the note of a denoiser, the same in all of its files; its `base_sha256` is a string and its `format` known."""
    from safetensors import safe_open

    notes = []
    for path in parts_of(folder):
        read_header(path)
        with safe_open(path, framework="numpy") as file:
            notes.append((file.metadata() or {}).get("palimpsest", ""))
    try:
        note: dict[str, Any] = json.loads(notes[0])
        same = isinstance(note, dict) and all(each == notes[0] for each in notes)
    except (ValueError, RecursionError):
        same = False
    if not same or not isinstance(note.get("base_sha256"), str):
        raise CheckpointBroken(f"The files in {folder} do not say what they were trained for, or not the same.")
    if note.get("format") not in FORMATS:
        raise UnsupportedCheckpoint(f"The denoiser in {folder} is of a format that this version does not know.")
    return note


def read_matrices(denoiser: Denoiser, device: str, dtype: Any) -> CanvasAdapter:
    """Read what was trained, dequantised, onto a device. Raises CheckpointBroken if the files hold something else."""
    import torch
    from safetensors.torch import load_file

    from palimpsest_engine.model.canvas import CanvasAdapter

    tensors = dict[str, Any]()
    for path in denoiser.files:
        tensors |= load_file(path)
    shape, rank = denoiser.shape, denoiser.rank
    wide, heads = shape["heads"] * shape["head"], shape["heads"] + 2 * shape["kv_heads"]
    between = {
        "qkv": (heads * shape["head"], shape["hidden"]),
        "out": (shape["hidden"], wide),
        "gate_up": (2 * shape["mlp"], shape["hidden"]),
        "down": (shape["hidden"], shape["mlp"]),
    }

    def take(name: str, size: tuple[int, ...]) -> Tensor:
        tensor, scale = tensors.pop(name, None), tensors.pop(f"{name}-scale", None)
        if tensor is None or tuple(tensor.shape) != size:
            raise CheckpointBroken(f"The denoiser in {denoiser.folder} has no {name} of the shape {[*size]}.")
        exact: Tensor = tensor.float() if scale is None else tensor.float() * scale.float()
        if not bool(torch.isfinite(exact).all()):
            raise CheckpointBroken(f"{name} of the denoiser in {denoiser.folder} holds numbers that are not finite.")
        return exact.to(device, dtype)

    pairs = tuple(
        {
            place: (take(f"{layer}-{place}-down", (rank, inside)), take(f"{layer}-{place}-up", (out, rank)))
            for place, (out, inside) in between.items()
        }
        for layer in range(shape["layers"])
    )
    mask_in, filler_in, filler_out = (take(name, (shape["hidden"],)) for name in ROWS)
    if tensors:
        raise CheckpointBroken(f"The denoiser in {denoiser.folder} holds {min(tensors)}, which has no place.")
    mask = denoiser.denoising.mask_id
    assert mask is not None
    return CanvasAdapter(pairs, {mask: mask_in, denoiser.filler_id: filler_in}, {denoiser.filler_id: filler_out})
