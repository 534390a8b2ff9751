"""What is measured: a checkpoint or a model of random weights as the engine runs it, and the same as the library has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from palimpsest_bench.engine.hardware import Rates
from palimpsest_bench.engine.random_models import Shape, random_model
from palimpsest_engine.checkpoint.load import Checkpoint, choose, load, read_tokenizer
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.spec import Sampling, read_spec
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.fill.filler import Filler

NEVER = 1e-30  # nats: too certain for any canvas to be done early


@dataclass
class Subject:
    """A loaded checkpoint and the filler that the engine would have for it. loaded_gib: what a GPU holds after that.
    torch_threads: those that torch takes if it is not told how many. library_threads: those the library gets here."""

    checkpoint: Checkpoint
    shape: Shape | None
    filler: Filler
    loaded_gib: float | None
    torch_threads: int
    library_threads: int | None = None

    @property
    def model(self) -> Any:
        """As the engine runs it."""
        return self.checkpoint.model

    @property
    def device(self) -> torch.device:
        """Where it is."""
        where: torch.device = self.model.device
        return where

    @property
    def on_gpu(self) -> bool:
        """It is on a GPU."""
        return self.device.type == "cuda"

    @property
    def whole(self) -> int:
        """Tokens of a whole canvas."""
        length: int = self.model.config.canvas_length
        return length

    @property
    def text(self) -> Any:
        """The config of the text stack."""
        return self.model.config.get_text_config()

    @cached_property
    def rates(self) -> Rates:
        """What the device does at best, measured once."""
        return Rates.measured(self.device, getattr(torch, self.checkpoint.dtype))

    def random_ids(self, length: int) -> list[int]:
        """A context of so many tokens: a pass costs the same whatever they are."""
        generator = torch.Generator().manual_seed(length)
        ids: list[int] = torch.randint(self.text.vocab_size, (length,), generator=generator).tolist()
        return ids

    def peak_gib(self) -> float | None:
        """The most that was allocated so far; None without a GPU."""
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.on_gpu else None

    @cached_property
    def stock(self) -> Any:
        """The model as the library loads and runs it. On a CPU it is loaded a second time, for the engine rebuilds its own
        there; else it is the same one, and `as_the_class_has_it` takes away what was put over its methods."""
        if self.on_gpu or self.shape is not None:
            return self.model
        from transformers import DiffusionGemmaForBlockDiffusion

        dtype = getattr(torch, self.checkpoint.dtype)
        return DiffusionGemmaForBlockDiffusion.from_pretrained(
            self.checkpoint.folder, dtype=dtype, local_files_only=True, use_safetensors=True
        ).eval()


def open_subject(settings: EngineSettings, shape: Shape | None = None) -> Subject:
    """Load the checkpoint, or draw random weights of a shape. Raises what either raises."""
    threads = torch.get_num_threads()
    checkpoint = load(settings) if shape is None else drawn(settings, shape)
    device = checkpoint.model.device
    loaded = None
    if device.type == "cuda":
        loaded = torch.cuda.memory_allocated(device) / 2**30
        torch.cuda.reset_peak_memory_stats(device)
    return Subject(checkpoint, shape, Filler(checkpoint), loaded, threads)


def drawn(settings: EngineSettings, shape: Shape) -> Checkpoint:
    """Random weights of a shape, with the tokenizer of the embedded checkpoint: what they read and write is noise."""
    device, dtype = choose(settings)
    more = {} if settings.quantization == "none" else {"quantization": settings.quantization}
    model = random_model(shape, device, dtype, **more)
    spec = replace(
        read_spec(EMBEDDED),
        name=f"random weights, {shape}",
        languages=(),
        canvas=model.config.canvas_length,
        causal_candidates=0,
        blank_line_candidates=None,
        sampling=Sampling(),
        sha256={},
    )
    return Checkpoint(EMBEDDED, spec, model, read_tokenizer(EMBEDDED), device, dtype, "", settings.quantization)


@contextmanager
def as_the_class_has_it(model: Any) -> Iterator[Any]:
    """The model without the forwards that were put over those of its modules' classes."""
    over = [
        (module, module.__dict__.pop("forward")) for module in model.model.modules() if "forward" in module.__dict__
    ]
    try:
        yield model
    finally:
        for module, forward in over:
            module.forward = forward
