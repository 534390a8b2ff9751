"""Verify an adapter that `palimpsest tune` made and add it to a checkpoint's weights. Knows nothing of training.

An adapter is a folder in peft's format: two small matrices for each of some weights, W + scale * B @ A. Added to the
weights once, when a checkpoint is loaded, it costs nothing afterwards and needs no peft.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint.header import digest, floats_in
from palimpsest_engine.checkpoint.locate import pickles_in, read_json, refuse_pipes
from palimpsest_engine.checkpoint.rules import Unfit, number, shown, whole
from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.errors import CheckpointBroken, CheckpointMissing, UnsupportedCheckpoint

NOTE_FILE = "palimpsest-adapter.json"
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
FORMAT = 1
PREFIX = "base_model.model."  # what peft puts before every name
_MOST = 1 << 20  # of a rank, of a scale
_DIGEST = re.compile(r"[0-9a-f]{64}")
# What peft can do beyond two plain matrices: settings with which the sum W + scale * B @ A is not what was trained.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "use_rslora": (False, None),
    "use_qalora": (False, None),
    "fan_in_fan_out": (False, None),
    "lora_bias": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "modules_to_save": ([], None),
    "layer_replication": ([], None),
    "target_parameters": ([], None),
    "trainable_token_indices": ([], None),
    "alora_invocation_tokens": ([], None),
}


@dataclass(frozen=True, slots=True)
class Adapter:
    """A verified adapter: its folder, the factor `scale` of its matrices, and its note (`palimpsest-adapter.json`)."""

    folder: Path
    scale: float
    note: dict[str, Any]

    @property
    def name(self) -> str:
        """Name the adapter as its folder is named."""
        return self.folder.name


def fingerprint(folder: Path, spec: Spec, files: list[Path]) -> dict[str, str]:
    """Return the SHA-256 of each weights file of a checkpoint, by name.

    It comes from the checkpoint's description if that has it (loading verifies it), from the name of the file in the Hugging
    Face cache, which names files so, and is computed otherwise.
    """
    found = {}
    for path in files:
        blob = path.resolve().name
        found[path.name] = spec.sha256.get(path.name) or (blob if _DIGEST.fullmatch(blob) else digest(path))
    return found


def read_adapter(name: str, folder: Path, spec: Spec, files: list[Path]) -> Adapter:
    """Read the adapter in the folder `name`, for the checkpoint in `folder` with these weights files.

    Raises CheckpointMissing, UnsupportedCheckpoint, or CheckpointBroken if it is damaged or made for other weights.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        raise CheckpointMissing(f"There is no adapter folder {name}.")
    refuse_pipes(path)
    if not (path / NOTE_FILE).exists():
        if pickles := pickles_in(path):
            raise UnsupportedCheckpoint(
                f"{name} holds a pickle ({pickles[0]}); only adapters in safetensors are loaded, as a pickle can run code."
            )
        raise CheckpointMissing(f"{name} is not an adapter that `palimpsest tune` made: it has no {NOTE_FILE}.")
    note, config = (read_json(path / file, "The adapter") for file in (NOTE_FILE, CONFIG_FILE))
    if note.get("format") != FORMAT:
        raise UnsupportedCheckpoint(f"The adapter {name} is of a format that this version does not know; tune again.")
    base = note.get("base")
    made_for = base.get("sha256") if isinstance(base, dict) else None
    if not isinstance(base, dict) or not isinstance(made_for, dict):
        raise CheckpointBroken(f"{path / NOTE_FILE} does not say which weights the adapter was made for.")
    here = fingerprint(folder, spec, files)
    if made_for != here:
        raise CheckpointBroken(
            f"The adapter {name} was made for {shown(base.get('name'))} (weights {_short(made_for)}), and the checkpoint is "
            f"{spec.name} (weights {_short(here)}): tune again, or set the checkpoint that it was made for."
        )
    weights = path / WEIGHTS_FILE
    if not weights.exists():
        raise CheckpointBroken(f"The adapter lacks {WEIGHTS_FILE} (looked in {path}).")
    floats_in([weights])
    if note.get("sha256") != digest(weights):
        raise CheckpointBroken(f"{weights} is not the file that was written: its SHA-256 differs; tune again.")
    for key, plain in _PLAIN.items():
        if config.get(key) not in plain:
            raise UnsupportedCheckpoint(
                f"The adapter {name} is not a plain LoRA ({key} is {shown(config.get(key))}); this version loads no other."
            )
    try:
        rank, alpha = whole(1, _MOST)(config.get("r")), number(-_MOST, _MOST)(config.get("lora_alpha"))
    except Unfit as error:
        raise CheckpointBroken(f"{path / CONFIG_FILE} has no rank or no scale: {error}.") from None
    return Adapter(path, alpha / rank, note)


def _short(digests: dict[str, Any]) -> str:
    """Return one short name for the digests of all weights files."""
    first = next(iter(digests.values()), "none")
    if len(digests) != 1:
        first = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    return str(first)[:12]


def merge(model: Any, adapter: Adapter) -> None:
    """Add the adapter to the model's weights, in place and in float32; nothing is changed if it does not fit.

    The class ties the encoder's weights to the decoder's, so both change, as both did when it was trained.
    """
    import torch
    from safetensors.torch import load_file

    where = adapter.folder / WEIGHTS_FILE
    try:
        tensors = load_file(where)
    except Exception as error:  # safetensors raises bare exception types of its own
        raise CheckpointBroken(f"{where} cannot be read: {error}") from error
    pairs = []
    for name in sorted(key for key in tensors if key.endswith(".lora_A.weight")):
        a, b = tensors.pop(name), tensors.pop(name.replace(".lora_A.", ".lora_B."), None)
        module = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
        try:
            weight = model.get_parameter(f"{module}.weight")
        except AttributeError:
            raise CheckpointBroken(f"{where} is about {module}, which the checkpoint does not have.") from None
        if (
            b is None
            or a.ndim != 2
            or b.ndim != 2
            or (b.shape[0], a.shape[1], a.shape[0]) != (*weight.shape, b.shape[1])
        ):
            raise CheckpointBroken(f"The matrices for {module} in {where} do not fit the checkpoint's.")
        if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise CheckpointBroken(f"{where} holds numbers that are not finite; tune again.")
        pairs.append((weight, a, b))
    if tensors or not pairs:
        raise CheckpointBroken(f"{where} holds {min(tensors) if tensors else 'nothing'}: not what a plain LoRA has.")
    with torch.no_grad():
        for weight, a, b in pairs:
            delta = (b.to(weight.device, torch.float32) @ a.to(weight.device, torch.float32)) * adapter.scale
            weight.copy_(weight.float() + delta)
