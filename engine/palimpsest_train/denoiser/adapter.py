"""Writes and reads the trained adapter: safetensors files of at most 15 MiB, each with the same note. Trains nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from palimpsest_train.denoiser.base import Base
from palimpsest_train.denoiser.network import Adapter
from palimpsest_train.denoiser.recipe import SIZES, Recipe
from palimpsest_train.errors import TrainingError

MOST = 15 * 2**20 - 2**16  # bytes of tensors in a file, which stays below 15 MiB with its header
FORMAT = "palimpsest-denoiser-1"
PACKED = "palimpsest-denoiser-2"
"""Of bytes: `NAME` is int8, and `NAME-scale` has a factor for each of the adapter's directions."""
ROWS = ("mask_in", "filler_in", "filler_out")


def save(adapter: Adapter, base: Base, recipe: Recipe, folder: Path, **state: Any) -> list[Path]:
    """Write `adapter-1-of-N.safetensors` ..., replacing older ones in one step each; returns their paths.

    Matrices are bfloat16, `N-place-up` with the scale already in it, so that what is added to a weight is up @ down; the
    trained rows are float32 and named by what they are. state: what else the note should say.
    """
    note = {
        "format": FORMAT,
        "base_sha256": base.sha256,
        "shape": asdict(base.shape),
        "rank": recipe.rank,
        "noise": recipe.noise,
        "mask_id": base.mask,
        "filler_id": int(base.ids[adapter.filler]),
        "shift": True,
        "sizes": SIZES,
        "pins": recipe.pins,
        "recipe": asdict(recipe),
        **state,
    }
    arrays: dict[str, Tensor] = {}
    for name, parameter in adapter.pairs.items():
        value = parameter.detach() * (adapter.scale if name.endswith("-up") else 1.0)
        arrays[name] = value.to(torch.bfloat16).cpu()
    arrays |= {name: getattr(adapter, name).detach().cpu().float() for name in ROWS}
    return _write(arrays, note, folder)


def pack(folder: Path, out: Path) -> dict[str, float]:
    """Write an adapter with its matrices as int8, in half the bytes; returns how far that is from what was read.

    Each row of `down`, and each column of `up`, has its own scale. error, worst: of what a matrix adds, up @ down, the
    norm of the difference over the norm, mean and greatest. bytes: of the files. Raises TrainingError as `load` does.
    """
    arrays, note = _read(folder)
    if note["format"] != FORMAT:
        raise TrainingError(f"The adapter in {folder} is packed already.")
    packed = {name: arrays[name] for name in ROWS}
    errors = []
    for name in sorted(name for name in arrays if name.endswith("-up")):
        down = name.removesuffix("up") + "down"
        pairs = []
        for matrix, axis in ((name, 0), (down, 1)):
            values = arrays[matrix].float()
            scale = (values.abs().amax(axis, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
            packed[matrix] = (values / scale).round().to(torch.int8)
            packed[f"{matrix}-scale"] = scale
            pairs.append((values, packed[matrix] * scale))
        (up, near_up), (low, near_low) = pairs
        added = up @ low
        errors.append(float((near_up @ near_low - added).norm() / added.norm().clamp(min=1e-30)))
    paths = _write(packed, note | {"format": PACKED}, out)
    size = sum(path.stat().st_size for path in paths)
    return {"error": sum(errors) / len(errors), "worst": max(errors), "bytes": size}


def load(folder: Path, base: Base) -> tuple[Adapter, dict[str, Any]]:
    """Read (the adapter of a folder, its note). Raises TrainingError if it is not whole, or was made for another base."""
    arrays, note = _read(folder)
    if note["base_sha256"] != base.sha256:
        raise TrainingError(
            f"The adapter was trained on {note['base_sha256'][:12]}, and this base is {base.sha256[:12]}."
        )
    places = (base.ids == note["filler_id"]).nonzero()[0]
    if not len(places) or note["mask_id"] != base.mask:
        raise TrainingError("The base lacks the adapter's filler, or has another mask id.")
    adapter = Adapter(base, note["rank"], float(note["rank"]), int(places[0]))  # its scale is in the matrices
    with torch.no_grad():
        for name, parameter in adapter.pairs.items():
            parameter.copy_(arrays[name] * arrays[f"{name}-scale"] if note["format"] == PACKED else arrays[name])
        for name in ROWS:
            getattr(adapter, name).copy_(arrays[name])
    return adapter.to(base.embed.device), note


def _write(arrays: dict[str, Tensor], note: dict[str, Any], folder: Path) -> list[Path]:
    """Write the files, each whole before it replaces an older one; return their paths."""
    files: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, array in arrays.items():
        if size + array.nbytes > MOST:
            files.append({})
            size = 0
        files[-1][name] = array
        size += array.nbytes
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, part in enumerate(files, 1):
        path = folder / f"adapter-{number}-of-{len(files)}.safetensors"
        hidden = folder / f".{path.name}"
        save_file(part, hidden, {"palimpsest": json.dumps(note)})
        hidden.replace(path)
        paths.append(path)
    return paths


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read (tensors of all files, their note)."""
    arrays: dict[str, Tensor] = {}
    paths = sorted(folder.glob("adapter-*-of-*.safetensors"))
    if not paths or len(paths) != int(paths[0].stem.rpartition("-")[2]):
        raise TrainingError(f"{folder} holds no adapter, or not all of its files.")
    notes = []
    try:
        for path in paths:
            with safe_open(path, "pt") as file:
                notes.append(json.loads((file.metadata() or {})["palimpsest"]))
                arrays |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, KeyError, ValueError) as error:
        raise TrainingError(f"{folder} holds an adapter that cannot be read: {error}.") from error
    note = notes[0]
    if any(other != note for other in notes) or note.get("format") not in (FORMAT, PACKED):
        raise TrainingError(f"The files of the adapter in {folder} are not of one format and one moment.")
    return arrays, note
