"""Load a left-to-right model, with its denoiser if there is one, or a published diffusion coder of such a class.

`causal.py` reads the weights; here is decided in which format, and what the model says of itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest_engine.checkpoint.calibration_file import calibration_of
from palimpsest_engine.checkpoint.denoiser import read_denoiser, read_matrices, shipped
from palimpsest_engine.checkpoint.description import check_ids, read_spec
from palimpsest_engine.checkpoint.gguf.diffusion import ARCHITECTURE
from palimpsest_engine.checkpoint.gguf.file import architecture_of
from palimpsest_engine.checkpoint.loaded import LARGE, Checkpoint, choose, cpu_threads, vocabulary_of
from palimpsest_engine.checkpoint.locate import NO_ADAPTER, read_json
from palimpsest_engine.checkpoint.memory import check_room
from palimpsest_engine.checkpoint.published import found_in
from palimpsest_engine.checkpoint.spec import (
    FILE_MARKS,
    SPEC_FILE,
    TURN_MARKS,
    Spec,
    denoising_too,
    edits_of,
    spec_of_causal,
)
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.errors import OutOfMemory, UnsupportedCheckpoint

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.causal import Opened


def is_causal(source: Path) -> bool:
    """Return whether a folder or file holds a model of a left-to-right class that this engine runs, or of a published one
    that has its tensors."""
    if source.is_file():
        return architecture_of(source) != ARCHITECTURE  # of files only GGUF is loaded; another one is refused there
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
    turns = all(opened.tokenizer.token_to_id(mark) is not None for mark in TURN_MARKS)
    edits = edits_of(opened.name) or ("chatml" if turns else "")
    return spec_of_causal(opened.name, opened.bos_id, device, files=files, edits=edits)


def load_causal(settings: EngineSettings, source: Path) -> Checkpoint:
    """Load a left-to-right model: on a CPU in eight bits, unless the settings ask for a number format; on a GPU in the
    format that they ask for. With a denoiser, if the settings name one or one for this very file comes with the package."""
    device, dtype = choose(settings)
    if device == "cpu" and settings.quantization not in ("none", "int8"):
        raise UnsupportedCheckpoint(
            f"{source} is a left-to-right model, which a CPU multiplies in int8; {settings.quantization} would be slower "
            "there, so set quantization to none."
        )

    import torch
    from transformers.utils import logging

    from palimpsest_engine.checkpoint import causal
    from palimpsest_engine.model.canvas import give_canvas
    from palimpsest_engine.model.int8 import available
    from palimpsest_engine.model.quantize import EXPERTS, FORMATS

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
    format = None if device == "cpu" else EXPERTS.get(settings.quantization)
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
        calibration_of(source),
    )


def canvas_dtype(device: str, dtype: str) -> Any:
    """Return the number format of a denoiser's matrices: bfloat16 where the processor multiplies it natively."""
    import torch

    native = device != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native and dtype != "float32" else torch.float32
