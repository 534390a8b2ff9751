"""Finds, verifies and loads a checkpoint. Says plainly what is wrong with one; knows nothing of fills."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import psutil

from palimpsest_engine.checkpoint.spec import Spec, read_spec
from palimpsest_engine.engine import EngineSettings, Quantization
from palimpsest_engine.errors import (
    CheckpointBroken,
    CheckpointMissing,
    DeviceUnsupported,
    OutOfMemory,
    UnsupportedCheckpoint,
)

EMBEDDED = Path(__file__).parents[1] / "embedded"
ARCHITECTURE = "DiffusionGemmaForBlockDiffusion"
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
         "BOOL": 1}  # fmt: skip
Shapes = dict[str, tuple[int, ...]]
_EXPERTS = re.compile(r"\.experts\.(gate_up_proj|down_proj)$")
_VISION = ("vision_tower", "embed_vision")  # modules of the encoder through which no text goes
_ROOM = 1.05  # how much more than its weights a model takes, at the least


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint: the model in evaluation mode, its tokenizer, and what it says of itself.

    adapter: the name of the one that was added to its weights, or "". quantization: how the experts are kept. int8: its
    layers multiply in eight bits.
    """

    folder: Path
    spec: Spec
    model: Any
    tokenizer: Any
    device: str
    dtype: str
    adapter: str = ""
    quantization: Quantization = "none"
    int8: bool = False

    @property
    def number_format(self) -> str:
        """In which format the weights are, for people."""
        if self.int8:
            return f"{self.dtype}, multiplied in int8"
        return self.dtype if self.quantization == "none" else f"{self.dtype}, experts in {self.quantization}"

    @property
    def name(self) -> str:
        """What people are told that they run."""
        return f"{self.spec.name} with the adapter {self.adapter}" if self.adapter else self.spec.name


def locate(name: str | None) -> Path:
    """The folder of a checkpoint: the embedded one, a path, or a model id already in the local Hugging Face cache."""
    if name is None:
        if not (EMBEDDED / "config.json").exists():
            raise CheckpointMissing(f"This installation has no embedded checkpoint (looked in {EMBEDDED}).")
        return EMBEDDED
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointMissing(f"{name} is a file; a checkpoint is a folder with config.json and safetensors weights.")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            raise CheckpointMissing(
                f"There is no folder {name}, and no model of that id in the local Hugging Face cache. "
                f"Nothing is downloaded unasked: run `hf download {name}` once."
            ) from None
    raise CheckpointMissing(f"There is no checkpoint folder {name}.")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint's file."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointBroken(f"The checkpoint lacks {path.name} (looked in {path.parent}).") from None
    except ValueError as error:
        raise CheckpointBroken(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise CheckpointBroken(f"{path} is not a JSON object.")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files a checkpoint consists of; pickles are refused, whatever they are called."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        if missing := [name for name in names if not (folder / name).exists()]:
            raise CheckpointBroken(
                f"The checkpoint lacks {len(missing)} of its {len(names)} weight files, first {missing[0]}."
            )
        return [folder / name for name in names]
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    pickles = [p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
    if pickles:
        raise UnsupportedCheckpoint(
            f"{folder} holds its weights as a pickle ({pickles[0]}); only safetensors are loaded, as a pickle can run code."
        )
    raise CheckpointMissing(f"There are no weights in {folder} (no model.safetensors).")


def tensor_bytes(path: Path) -> int:
    """Bytes of tensor data a safetensors file holds; its header is checked against its length first."""
    return max((tensor["data_offsets"][1] for tensor in read_header(path).values()), default=0)


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """What a safetensors file says of its tensors, by name (`dtype`, `shape`, `data_offsets`), checked against its length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise UnsupportedCheckpoint(
                f"{path} is a pickle with a safetensors name; only safetensors are loaded, as a pickle can run code."
            )
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise CheckpointBroken(f"{path} is truncated or not a safetensors file ({size} bytes).")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            header.pop("__metadata__", None)
            total = 0
            for name, tensor in header.items():
                begin, end = tensor["data_offsets"]
                if (
                    end - begin != math.prod(tensor["shape"]) * BYTES.get(tensor["dtype"], 0)
                    and tensor["dtype"] in BYTES
                ):
                    raise ValueError(name)
                total = max(total, end)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CheckpointBroken(f"{path} has a damaged safetensors header.") from None
    if size != 8 + length + total:
        raise CheckpointBroken(
            f"{path} is truncated or was added to: {size} bytes, its header promises {8 + length + total}."
        )
    return header


def verify(folder: Path, spec: Spec) -> Shapes:
    """Check everything that can be checked before loading; the shapes of all tensors, by name."""
    config = read_json(folder / "config.json")
    if ARCHITECTURE not in config.get("architectures", [ARCHITECTURE]) or config.get("model_type") != "diffusion_gemma":
        raise UnsupportedCheckpoint(
            f"{folder} is a {config.get('model_type', 'model of unknown kind')}; this engine runs {ARCHITECTURE} only."
        )
    if "auto_map" in config:
        raise UnsupportedCheckpoint(f"{folder} wants to run code of its own (auto_map); that is never done.")
    if quantisation := config.get("quantization_config"):
        method = quantisation.get("quant_method", "unknown")
        raise UnsupportedCheckpoint(
            f"{folder} is quantised ({method}); this version loads unquantised weights only (bfloat16 or float32), whose "
            "experts it keeps in fewer bits itself: with the setting quantization (int8, fp8 or int4)."
        )
    if not (folder / "tokenizer.json").exists():
        raise CheckpointBroken(f"The checkpoint lacks tokenizer.json (looked in {folder}).")
    files = weight_files(folder)
    shapes = {name: tuple(tensor["shape"]) for path in files for name, tensor in read_header(path).items()}
    for path in files:
        wanted = spec.sha256.get(path.name)
        if wanted and hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise CheckpointBroken(f"{path} is not the file that was published: its SHA-256 differs. Reinstall it.")
    return shapes


def gib(size: float) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def choose(settings: EngineSettings) -> tuple[str, str]:
    """(device, dtype): a GPU if there is one; on a CPU bfloat16 only where the processor multiplies it natively."""
    import torch

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceUnsupported(
            f"The setting device is {device}, but torch sees no CUDA device; set it to auto or cpu."
        )
    dtype: str = settings.dtype
    if dtype == "auto":
        native = device != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        dtype = "bfloat16" if native else "float32"
    return device, dtype


def multiplies_in_int8(settings: EngineSettings, dtype: str) -> bool:
    """On a CPU without bfloat16 of its own: as many fills are right, in two thirds to four fifths of the time. Who asks for
    float32 gets that. Elsewhere than on x86 the library has no kernel for it."""
    import torch

    if settings.dtype != "auto" or dtype != "float32":
        return False
    x86 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return x86 and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def shapes_of(settings: EngineSettings) -> Shapes:
    """The shapes of all tensors of the checkpoint that the settings choose, by the headers of its files alone."""
    files = weight_files(locate(settings.checkpoint))
    return {name: tuple(tensor["shape"]) for path in files for name, tensor in read_header(path).items()}


def has_mixture(shapes: Shapes) -> bool:
    """More than one expert a layer."""
    return any(shape[0] > 1 for name, shape in shapes.items() if _EXPERTS.search(name))


def for_pictures(name: str) -> bool:
    """A tensor that is not kept: of the vision tower."""
    return name.startswith(tuple(f"model.encoder.{module}." for module in _VISION))


def without_vision(model: Any) -> Any:
    """The model without the modules for pictures, which it only looks for when it is given some."""
    for module in _VISION:
        delattr(model.model.encoder, module)
    return model


def needed(shapes: Shapes, dtype: str, quantization: Quantization) -> float:
    """Bytes for a checkpoint's tensors on the device, and the room that loading and a fill take beside them."""
    width, total = {"float32": 4, "bfloat16": 2}[dtype], 0
    for name, shape in shapes.items():
        if for_pictures(name):
            continue
        if quantization != "none" and _EXPERTS.search(name) and len(shape) == 3:
            from palimpsest_engine.model.quantize import stored_bytes

            total += shape[0] * stored_bytes(shape[1], shape[2], quantization)
        else:
            total += width * math.prod(shape)
    return _ROOM * total


def room_on(device: str) -> tuple[str, float]:
    """(where, bytes free) for the place that must hold all the weights; on the way to a GPU nothing else does."""
    import torch

    if device.startswith("cuda"):
        return f"on {device}", float(torch.cuda.mem_get_info(device)[0])
    return "of main memory", float(psutil.virtual_memory().available)


def that_fit(shapes: Shapes, device: str, dtype: str) -> dict[Quantization, float]:
    """Ways to keep the experts with which the checkpoint fits, and the bytes that it needs; the most exact first."""
    found: dict[Quantization, float] = {each: needed(shapes, dtype, each) for each in get_args(Quantization)}
    return {each: size for each, size in found.items() if size <= room_on(device)[1]}


def check_memory(shapes: Shapes, device: str, dtype: str, quantization: Quantization = "none") -> None:
    """Raise `OutOfMemory` if the weights do not fit, with what they need, what is free, and what to do."""
    wanted, (place, free) = needed(shapes, dtype, quantization), room_on(device)
    if wanted <= free:
        return
    fitting = [f"{each} would need {gib(size)}" for each, size in that_fit(shapes, device, dtype).items()]
    advice = f"set quantization ({', '.join(fitting)})" if fitting else "choose another device"
    kept = "" if quantization == "none" else f" with its experts in {quantization}"
    raise OutOfMemory(
        f"The checkpoint needs {gib(wanted)} in {dtype}{kept} and {gib(free)} {place} is free; "
        f"close something, {advice}, or use the embedded checkpoint (set checkpoint to null)."
    )


def cpu_threads(wanted: int | None, parameters: int) -> int:
    """Threads for a model of so many parameters: a small one gains nothing from a second thread, and leaves that core
    to the editor."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or min(1 if parameters < 10_000_000 else 8, usable)


def read_tokenizer(folder: Path) -> Any:
    """The checkpoint's `tokenizers.Tokenizer`."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing more exact
        raise CheckpointBroken(f"The checkpoint in {folder} cannot be loaded: {error}") from error


def read_model(folder: Path, device: str, dtype: str, quantization: Quantization) -> Any:
    """The model on the device, every tensor from the files. But for a model on the CPU as it comes, a tensor at a time."""
    import torch
    from transformers import DiffusionGemmaForBlockDiffusion

    info: dict[str, Any] = {}
    try:
        if device != "cpu" or quantization != "none":
            model = read_onto(device, folder, dtype, quantization)
        else:
            # The dtype goes to from_pretrained: casting a built model would also cast its rotary frequencies.
            model, info = DiffusionGemmaForBlockDiffusion.from_pretrained(
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
    return model.eval().to(device)


def read_onto(device: str, folder: Path, dtype: str, quantization: Quantization) -> Any:
    """The model, read from the files straight onto the device: main memory holds a tensor at most."""
    import torch
    from transformers import DiffusionGemmaConfig

    from palimpsest_engine.checkpoint.weights import Files, give_room, hollow, read

    config = DiffusionGemmaConfig.from_pretrained(folder, local_files_only=True)
    model = without_vision(hollow(config, getattr(torch, dtype)))
    give_room(model, device, None if quantization == "none" else quantization)
    read(model, Files(folder, weight_files(folder), without=for_pictures))
    if (folder / "generation_config.json").exists():  # as from_pretrained does; for the library's own generate()
        model.generation_config = type(model).generation_config_class.from_pretrained(folder, local_files_only=True)
    return model


def load(settings: EngineSettings, *, trainable: bool = False) -> Checkpoint:
    """Verify and load; every tensor of the model must have come from the files. An adapter is added to the weights.

    trainable: the layers stay as the class has them; slower on a CPU.
    """
    from palimpsest_engine.checkpoint.adapter import merge, read_adapter

    folder = locate(settings.checkpoint)
    spec = read_spec(folder)
    shapes = verify(folder, spec)
    adapter = None
    if settings.adapter is not None:
        adapter = read_adapter(settings.adapter, folder, spec, weight_files(folder))
    device, dtype = choose(settings)
    if trainable and settings.quantization != "none":
        raise UnsupportedCheckpoint("Quantised experts cannot be trained; set quantization to none.")
    check_memory(shapes, device, dtype, settings.quantization)

    import torch
    from transformers.utils import logging

    from palimpsest_engine.model.cpu_layers import make_lean

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if ":" in device:
        torch.cuda.set_device(device)  # kernels and recorded graphs are for the current device of a thread
    try:
        model = read_model(folder, device, dtype, settings.quantization)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"{device} ran out of memory while the checkpoint was loaded: {error}") from error
    tokenizer = read_tokenizer(folder)
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
    return Checkpoint(folder, spec, model, tokenizer, device, dtype, merged, settings.quantization, int8)
