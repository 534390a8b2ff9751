"""Verify and load a checkpoint, or say plainly what is wrong with it. Knows nothing of fills."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest_engine.checkpoint.adapter import merge, read_adapter
from palimpsest_engine.checkpoint.denoiser import read_denoiser, read_matrices, shipped
from palimpsest_engine.checkpoint.description import check_ids, read_spec
from palimpsest_engine.checkpoint.gguf_tokenizer import read_tokenizer
from palimpsest_engine.checkpoint.header import VISION, Shapes, digest, for_pictures, shapes_in
from palimpsest_engine.checkpoint.locate import locate, read_json, weight_files
from palimpsest_engine.checkpoint.memory import check_memory, check_room
from palimpsest_engine.checkpoint.published import found_in
from palimpsest_engine.checkpoint.spec import FILE_MARKS, SPEC_FILE, Spec, denoising_too, spec_of_causal
from palimpsest_engine.engine import EngineSettings, Quantization
from palimpsest_engine.errors import CheckpointBroken, DeviceUnsupported, OutOfMemory, UnsupportedCheckpoint

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.causal import Opened

ARCHITECTURE = "DiffusionGemmaForBlockDiffusion"
NO_ADAPTER = "none"
LARGE = 10_000_000  # parameters from which a second thread pays


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint: the model in evaluation mode, its tokenizer, and what it says of itself. folder: or its one file.

    adapter: the name of the one that was added to its weights, or "". quantization: how the experts are kept, or the linear
    maps of a left-to-right model. int8: its layers multiply in eight bits.
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
    parameters: int = 0

    @property
    def files(self) -> list[Path]:
        """Return the files of its weights."""
        return [self.folder] if self.folder.is_file() else weight_files(self.folder)

    @property
    def number_format(self) -> str:
        """Name the format of the weights for people."""
        if self.int8:
            return f"{self.dtype}, multiplied in int8"
        if self.quantization == "none":
            return self.dtype
        kept = "experts" if hasattr(self.model.model, "encoder") else "weights"
        return f"{self.dtype}, {kept} in {self.quantization}"

    @property
    def name(self) -> str:
        """Name for people what they run."""
        return f"{self.spec.name} with the adapter {self.adapter}" if self.adapter else self.spec.name


def verify(folder: Path, spec: Spec) -> Shapes:
    """Check everything that needs no loading; return the shapes of all tensors, by name."""
    config = read_json(folder / "config.json")
    if ARCHITECTURE not in config.get("architectures", [ARCHITECTURE]) or config.get("model_type") != "diffusion_gemma":
        raise UnsupportedCheckpoint(
            f"{folder} is a {config.get('model_type', 'model of unknown kind')}; this engine runs {ARCHITECTURE} only."
        )
    if key := code_named_in(config):
        raise UnsupportedCheckpoint(f"{folder} wants to run code of its own ({key}); that is never done.")
    if quantisation := config.get("quantization_config"):
        method = quantisation.get("quant_method", "unknown")
        raise UnsupportedCheckpoint(
            f"{folder} is quantised ({method}); this version loads unquantised weights only (bfloat16 or float32), whose "
            "experts it keeps in fewer bits itself: with the setting quantization (int8, fp8 or int4)."
        )
    if not (folder / "tokenizer.json").exists():
        raise CheckpointBroken(f"The checkpoint lacks tokenizer.json (looked in {folder}).")
    files = weight_files(folder)
    shapes = shapes_in(files)
    for path in files:
        wanted = spec.sha256.get(path.name)
        if wanted and digest(path) != wanted:
            raise CheckpointBroken(f"{path} is not the file that was published: its SHA-256 differs. Reinstall it.")
    return shapes


def code_named_in(config: Any) -> str:
    """Return the key of a config, at any depth, by which the library would fetch and run code; "" if there is none.

    `auto_map` names modules; the implementation of attention or experts may name a repository of kernels.
    """
    if isinstance(config, list):
        return next((key for each in config if (key := code_named_in(each))), "")
    if not isinstance(config, dict):
        return ""
    for key, value in config.items():
        if key == "auto_map" or (key.endswith("_implementation") and value not in (None, "eager", "sdpa")):
            return str(key)
    return next((key for value in config.values() if (key := code_named_in(value))), "")


def choose(settings: EngineSettings) -> tuple[str, str]:
    """Return (device, dtype): a GPU if there is one; on a CPU bfloat16 only where the processor multiplies it natively."""
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


def cpu_threads(wanted: int | None, parameters: int) -> int:
    """Choose the number of threads for a model of so many parameters: a small one gains nothing from a second thread, and
    leaves that core to the editor."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or min(1 if parameters < LARGE else 8, usable)


def read_model(folder: Path, device: str, dtype: str, quantization: Quantization) -> Any:
    """Load the model onto the device, every tensor from the files; one at a time, except an unquantised model on a CPU."""
    import torch
    from transformers import DiffusionGemmaForBlockDiffusion

    info: dict[str, Any] = {}
    try:
        if device != "cpu" or quantization != "none":
            model = read_onto(device, folder, dtype, quantization)
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
    return model.eval().to(device)


def read_onto(device: str, folder: Path, dtype: str, quantization: Quantization) -> Any:
    """Read the model from the files straight onto the device: main memory holds one tensor at most."""
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
    """Verify and load the checkpoint of the settings and add their adapter to the weights; all tensors come from the files.

    trainable: the layers stay as the class has them; slower on a CPU.
    """
    folder = locate(settings.checkpoint)
    if is_causal(folder):
        return load_causal(settings, folder)
    spec = read_spec(folder)
    shapes = verify(folder, spec)
    check_ids(spec, rows_of(shapes), folder)
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
    tokenizer = read_tokenizer(folder / "tokenizer.json")
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
    return Checkpoint(
        folder, spec, model, tokenizer, device, dtype, merged, settings.quantization, int8, model.num_parameters()
    )


def vocabulary_of(config: dict[str, Any], where: Path) -> int:
    """Return the number of ids that a config gives its model. Raises CheckpointBroken if it does not say."""
    inner = config.get("text_config", config)
    found = inner.get("vocab_size") if isinstance(inner, dict) else None
    if type(found) is not int or found < 1:
        raise CheckpointBroken(f"The config in {where} does not say how many ids the model has.")
    return found


def rows_of(shapes: Shapes) -> int:
    """Return the number of ids that a model has embeddings for, as its files say; no limit if they name them otherwise."""
    rows = (shape[0] for name, shape in shapes.items() if name.endswith("embed_tokens.weight") and shape)
    return min(rows, default=sys.maxsize)


def is_causal(source: Path) -> bool:
    """Return whether a folder or file holds a model of a left-to-right class that this engine runs, or of a published one
    that has its tensors."""
    if source.is_file():
        return True  # of single files only GGUF is loaded; another one is refused there
    from palimpsest_engine.model.families import CAUSAL

    if not (source / "config.json").exists():
        return False
    return read_json(source / "config.json").get("model_type") in [*CAUSAL] or found_in(source) is not None


def prepare(source: Path) -> bool:
    """Round a left-to-right model to eight bits where this machine will run it so, and keep that for its first start.

    Returns whether there was anything to do. Raises what loading raises.
    """
    from palimpsest_engine.checkpoint import causal
    from palimpsest_engine.model.int8 import available

    if not is_causal(source) or choose(EngineSettings())[0] != "cpu" or not available():
        return False
    opened = causal.open_files(source, int8=True)
    return opened.kept is None and causal.prepare(opened)


def spec_of(opened: Opened, device: str) -> Spec:
    """Return the description of a left-to-right model: its own, or the usual one on that device. That of a published model is
    the one of its published rules."""
    if opened.published is not None:
        return opened.published.spec(opened.tokenizer, device)
    if (opened.source / SPEC_FILE).exists():
        return read_spec(opened.source)
    files = any(opened.tokenizer.token_to_id(mark) is not None for mark in FILE_MARKS)
    return spec_of_causal(opened.name, opened.bos_id, device, files=files)


def load_causal(settings: EngineSettings, source: Path) -> Checkpoint:
    """Load a left-to-right model: on a CPU in eight bits, unless the settings ask for a number format; on a GPU in the
    format that they ask for. With a denoiser, if the settings name one or one for this very file comes with the package."""
    device, dtype = choose(settings)
    if device == "cpu" and settings.quantization in ("fp8", "int4"):
        raise UnsupportedCheckpoint(
            f"{source} is a left-to-right model, which a CPU multiplies in int8; {settings.quantization} would be slower "
            "there, so set quantization to none."
        )

    import torch
    from transformers.utils import logging

    from palimpsest_engine.checkpoint import causal
    from palimpsest_engine.model.canvas import give_canvas
    from palimpsest_engine.model.int8 import available
    from palimpsest_engine.model.quantize import FORMATS

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    int8 = device == "cpu" and available() and (settings.dtype == "auto" or settings.quantization == "int8")
    opened = causal.open_files(source, int8=int8)
    folder = shipped(source) if settings.adapter is None else Path(settings.adapter).expanduser()
    if settings.adapter == NO_ADAPTER:
        folder = None
    denoiser = None if folder is None else read_denoiser(folder, source, opened.config)
    spec = spec_of(opened, device)
    if "vocab_size" in opened.config:
        check_ids(spec, vocabulary_of(opened.config, source), source)
    format = None if device == "cpu" or settings.quantization == "none" else settings.quantization
    others = {each: causal.needed(opened, dtype, int8=int8, format=each) for each in FORMATS if device != "cpu"}
    check_room(source.name, causal.needed(opened, dtype, int8=int8, format=format), device, others)
    try:
        model = causal.read(opened, device, dtype, int8=int8, format=format)
        if opened.published is not None:
            give_canvas(model)
        elif denoiser is not None:
            give_canvas(model, read_matrices(denoiser, device, canvas_dtype(device, dtype)))
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"{device} ran out of memory while the model was loaded: {error}") from error
    if device == "cpu":
        torch.set_num_threads(cpu_threads(settings.threads, LARGE))
    count = causal.parameters(opened)
    if denoiser is not None:
        spec = denoising_too(spec, denoiser.denoising, denoiser.filler_id, denoiser.sizes, denoiser.pins)
    named = denoiser.name if denoiser is not None and settings.adapter is not None else ""
    return Checkpoint(
        source,
        spec,
        model,
        opened.tokenizer,
        device,
        "float32" if int8 else dtype,
        named,
        format or "none",
        int8,
        count,
    )


def canvas_dtype(device: str, dtype: str) -> Any:
    """Return the number format of a denoiser's matrices: bfloat16 where the processor multiplies it natively."""
    import torch

    native = device != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native and dtype != "float32" else torch.float32
