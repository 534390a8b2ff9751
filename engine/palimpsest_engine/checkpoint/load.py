"""Verify and load a checkpoint, or say plainly what is wrong with it. Knows nothing of fills."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint.adapter import merge, read_adapter
from palimpsest_engine.checkpoint.calibration_file import calibration_of
from palimpsest_engine.checkpoint.description import check_ids
from palimpsest_engine.checkpoint.gguf.diffusion import close_gguf
from palimpsest_engine.checkpoint.header import VISION, Shapes, digest
from palimpsest_engine.checkpoint.load_causal import is_causal, load_causal
from palimpsest_engine.checkpoint.loaded import Checkpoint, choose, cpu_threads
from palimpsest_engine.checkpoint.locate import entries_in, locate, read_json, weight_files
from palimpsest_engine.checkpoint.memory import Fill, check_memory, first_layers_of, kept_as, longest, room_on, smaller
from palimpsest_engine.checkpoint.profile import profiled
from palimpsest_engine.checkpoint.source import (
    config_of,
    files_of,
    fill_in,
    is_quantised,
    shapes_in,
    spec_in,
    tokenizer_of,
)
from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.engine import EngineSettings, Quantization
from palimpsest_engine.errors import CheckpointBroken, OutOfMemory, UnsupportedCheckpoint

__all__ = ["Checkpoint", "load"]

log = logging.getLogger("palimpsest.engine")

ARCHITECTURE = "DiffusionGemmaForBlockDiffusion"


def verify(folder: Path, spec: Spec) -> Shapes:
    """Check everything that needs no loading; return the shapes of all tensors, by name."""
    if folder.is_file():
        return shapes_in(folder)
    config = read_json(folder / "config.json")
    if ARCHITECTURE not in config.get("architectures", [ARCHITECTURE]) or config.get("model_type") != "diffusion_gemma":
        raise UnsupportedCheckpoint(
            f"{folder} is a {config.get('model_type', 'model of unknown kind')}; this engine runs {ARCHITECTURE} only."
        )
    if key := code_named_in(config):
        raise UnsupportedCheckpoint(f"{folder} wants to run code of its own ({key}); that is never done.")
    if not (folder / "tokenizer.json").exists():
        raise CheckpointBroken(f"The checkpoint lacks tokenizer.json (looked in {folder}).")
    files = weight_files(folder)
    shapes = shapes_in(folder)
    for path in files:
        wanted = spec.sha256.get(path.name)
        if wanted and digest(path) != wanted:
            raise CheckpointBroken(f"{path} is not the file that was published: its SHA-256 differs. Reinstall it.")
    return shapes


def code_named_in(config: Any) -> str:
    """Return the key of a config, at any depth, by which the library would fetch and run code; "" if there is none.

    `auto_map` names modules; the implementation of attention or experts may name a repository of kernels.
    """
    plain = (None, "eager", "sdpa")
    named = (
        key
        for key, value in entries_in(config)
        if key == "auto_map" or (key.endswith("_implementation") and value not in plain)
    )
    return next(named, "")


def multiplies_in_int8(settings: EngineSettings, dtype: str) -> bool:
    """Return whether the layers multiply in int8: on an x86 CPU that has no bfloat16, unless the settings ask for float32.

    As many fills are right, in two thirds to four fifths of the time. The library has no such kernel for other CPUs.
    """
    import torch

    if settings.dtype != "auto" or dtype != "float32":
        return False
    x86 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return x86 and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def without_vision(model: Any) -> Any:
    """Remove the modules for pictures, which the model looks for only when it is given one."""
    for module in VISION:
        delattr(model.model.encoder, module)
    return model


def read_model(folder: Path, device: str, dtype: str, quantization: Quantization, layers: int | None = None) -> Any:
    """Load the model onto the device, every tensor from the files; one at a time, except an unquantised model on a CPU.

    layers: only so many of the first ones, None for all.
    """
    import torch
    from transformers import DiffusionGemmaForBlockDiffusion

    from palimpsest_engine.checkpoint.weights import all_finite

    info: dict[str, Any] = {}
    try:
        if device != "cpu" or quantization != "none" or layers is not None or is_quantised(folder):
            model = read_onto(device, folder, dtype, quantization, layers)
        else:
            # The dtype goes to from_pretrained: casting a built model would also cast its rotary frequencies.
            model, info = DiffusionGemmaForBlockDiffusion.from_pretrained(  # type: ignore[misc]  # it gives two here
                folder,
                dtype=getattr(torch, dtype),
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                experts_implementation="eager" if device == "cpu" else None,
            )
            without_vision(model)
    except (CheckpointBroken, torch.OutOfMemoryError):
        raise  # the second is a RuntimeError, too
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointBroken(
            f"The checkpoint in {folder} cannot be loaded: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from error
    except Exception as error:
        # safetensors raises bare exception types of its own.
        raise CheckpointBroken(f"The checkpoint in {folder} cannot be loaded: {error}") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if keys := sorted(map(str, info.get(kind) or [])):
            raise CheckpointBroken(
                f"The weights in {folder} do not fit its config: {len(keys)} {kind.replace('_', ' ')}, first {keys[0]}."
            )
    for name, tensor in model.named_parameters():
        if not all_finite(tensor):
            raise CheckpointBroken(f"{name} in {folder} holds numbers that are not finite.")
    return model.eval().to(device)


def read_onto(device: str, folder: Path, dtype: str, quantization: Quantization, layers: int | None = None) -> Any:
    """Read the model from files straight onto the device: main memory holds one tensor at most, or one layer of a copy."""
    import torch

    from palimpsest_engine.checkpoint.quantised_copy import fill
    from palimpsest_engine.checkpoint.weights import give_room, hollow

    config = config_of(folder)
    if layers is not None:
        text = config.get_text_config()
        text.layer_types, text.num_hidden_layers = text.layer_types[:layers], layers
    model = without_vision(hollow(config, getattr(torch, dtype)))
    give_room(model, device, quantization)
    fill(model, folder, dtype, quantization, layers)
    if (folder / "generation_config.json").exists():  # as from_pretrained does; for the library's own generate()
        model.generation_config = type(model).generation_config_class.from_pretrained(folder, local_files_only=True)
    return model


def load(settings: EngineSettings, *, trainable: bool = False, layers: int | None = None) -> Checkpoint:
    """Verify and load the checkpoint of the settings and add their adapter to the weights; all tensors come from the files.

    trainable: the layers stay as the class has them; slower on a CPU. layers: only so many of the first ones of a diffusion
    checkpoint, to look at; None for all.
    """
    folder = locate(settings.checkpoint)
    if is_causal(folder):
        return load_causal(settings, folder)
    spec, calibration = spec_for(folder, settings), calibration_of(folder)
    shapes = verify(folder, spec)
    check_ids(spec, rows_of(shapes), folder)
    adapter = None
    if settings.adapter is not None:
        adapter = read_adapter(settings.adapter, folder, spec, files_of(folder))
    device, dtype = choose(settings)
    quantization = kept_as(shapes, settings.quantization)
    if trainable and quantization != "none":
        remedy = (
            "set quantization to none" if settings.quantization != "none" else "choose weights that are not quantised"
        )
        raise UnsupportedCheckpoint(f"Quantised experts cannot be trained; {remedy}.")
    if adapter is not None and quantization == "int4-small":
        raise UnsupportedCheckpoint(
            "An adapter changes weights that int4-small keeps quantised; set quantization to int4."
        )
    there = first_layers_of(shapes, layers)
    taken = fill_in(folder, there, dtype, spec)
    check_memory(there, device, dtype, quantization, taken)
    if taken is not None:
        spec = shortened(spec, there, device, dtype, quantization, taken)

    import torch
    from transformers.utils import logging

    from palimpsest_engine.model.cpu_layers import make_lean

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if ":" in device:
        torch.cuda.set_device(device)  # kernels and recorded graphs are for the current device of a thread
    try:
        model = read_model(folder, device, dtype, quantization, layers)
    except torch.OutOfMemoryError as error:
        less = smaller(there, dtype, quantization, taken)
        advice = f"; set quantization to {less}" if less else "; close what else uses it, or choose another device"
        raise OutOfMemory(f"{device} ran out of memory while the checkpoint was loaded{advice}: {error}") from error
    tokenizer = tokenizer_of(folder)
    close_gguf()
    if adapter is not None:
        merge(model, adapter)
    parameters = model.num_parameters() if device == "cpu" else 0  # on a GPU what is left to do here is small
    torch.set_num_threads(cpu_threads(settings.threads, parameters))
    int8 = False
    if device == "cpu":
        int8 = make_lean(model, trainable=trainable, int8=multiplies_in_int8(settings, dtype))
    vocabulary = model.config.get_text_config().vocab_size
    if tokenizer.get_vocab_size() > vocabulary:
        raise CheckpointBroken(
            f"The tokenizer in {folder} has {tokenizer.get_vocab_size()} entries, the model {vocabulary}."
        )
    merged = adapter.name if adapter is not None else ""
    count = model.num_parameters()
    return Checkpoint(folder, spec, model, tokenizer, device, dtype, merged, quantization, int8, count, calibration)


def shortened(spec: Spec, shapes: Shapes, device: str, dtype: str, quantization: Quantization, taken: Fill) -> Spec:
    """Return the description with the longest context, of at most its own, that fits beside the weights on a GPU."""
    if not device.startswith("cuda"):
        return spec
    found = longest(shapes, dtype, quantization, taken, room_on(device)[1], spec.context)
    if found is None or found == spec.context:
        return spec
    log.info("%s has room for a context of %d tokens in place of %d.", device, found, spec.context)
    return replace(spec, context=found, suffix=min(spec.suffix, found // 4))


def spec_for(folder: Path, settings: EngineSettings) -> Spec:
    """Return what a diffusion checkpoint says of itself, for the device and the profile of the settings."""
    quantised = settings.quantization != "none" or is_quantised(folder)
    return profiled(spec_in(folder, choose(settings)[0]), settings.profile, quantised=quantised)


def rows_of(shapes: Shapes) -> int:
    """Return the number of ids that a model has embeddings for, as its files say; no limit if they name them otherwise."""
    rows = (shape[0] for name, shape in shapes.items() if name.endswith("embed_tokens.weight") and shape)
    return min(rows, default=sys.maxsize)
