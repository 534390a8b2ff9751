"""The model that is measured: a checkpoint or random weights, as the engine runs it and as the library runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from palimpsest_bench.engine.hardware import Rates
from palimpsest_bench.engine.random_models import Shape, random_model
from palimpsest_engine.checkpoint.description import read_spec
from palimpsest_engine.checkpoint.gguf.tokenizer import read_tokenizer
from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_engine.checkpoint.loaded import choose
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.fill.filler import Filler

NEVER = 1e-30  # nats: too certain for any canvas to be done early


@dataclass
class Subject:
    """A loaded checkpoint and the engine's filler for it.

    loaded_gib: GPU memory after loading. torch_threads: torch's default number of threads. library_threads: the number
    that the library gets here.
    """

    checkpoint: Checkpoint
    shape: Shape | None
    filler: Filler
    loaded_gib: float | None
    torch_threads: int
    library_threads: int | None = None

    @property
    def model(self) -> Any:
        """Return the model as the engine runs it."""
        return self.checkpoint.model

    @property
    def device(self) -> torch.device:
        """Return the model's device."""
        where: torch.device = self.model.device
        return where

    @property
    def on_gpu(self) -> bool:
        """Tell whether the model is on a GPU."""
        return self.device.type == "cuda"

    @property
    def whole(self) -> int:
        """Return the number of tokens of a whole canvas."""
        length: int = self.model.config.canvas_length
        return length

    @property
    def text(self) -> Any:
        """Return the config of the text stack."""
        return self.model.config.get_text_config()

    @cached_property
    def rates(self) -> Rates:
        """Return the rates of the device, measured once."""
        return Rates.measured(self.device, getattr(torch, self.checkpoint.dtype))

    def random_ids(self, length: int) -> list[int]:
        """Draw a context of random tokens; they do not affect the time of a pass."""
        generator = torch.Generator().manual_seed(length)
        ids: list[int] = torch.randint(self.text.vocab_size, (length,), generator=generator).tolist()
        return ids

    def peak_gib(self) -> float | None:
        """Return the peak of allocated GPU memory; None without a GPU."""
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.on_gpu else None

    @cached_property
    def stock(self) -> Any:
        """Return the model as the library loads and runs it.

        On a CPU it is loaded a second time, because the engine rebuilds its own. Elsewhere it is the same model, and
        `as_the_class_has_it` removes our replacements of its methods.
        """
        if self.on_gpu or self.shape is not None:
            return self.model
        from transformers import DiffusionGemmaForBlockDiffusion

        dtype = getattr(torch, self.checkpoint.dtype)
        return DiffusionGemmaForBlockDiffusion.from_pretrained(
            self.checkpoint.folder, dtype=dtype, local_files_only=True, use_safetensors=True
        ).eval()


def open_subject(settings: EngineSettings, shape: Shape | None = None) -> Subject:
    """Load the checkpoint, or draw random weights of a shape. Raises the errors of either."""
    threads = torch.get_num_threads()
    checkpoint = load(settings) if shape is None else drawn(settings, shape)
    device = checkpoint.model.device
    loaded = None
    if device.type == "cuda":
        loaded = torch.cuda.memory_allocated(device) / 2**30
        torch.cuda.reset_peak_memory_stats(device)
    return Subject(checkpoint, shape, Filler(checkpoint), loaded, threads)


def drawn(settings: EngineSettings, shape: Shape) -> Checkpoint:
    """Make a checkpoint of random weights with the embedded one's tokenizer. Its text is noise."""
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
    tokenizer = read_tokenizer(EMBEDDED / "tokenizer.json")
    return Checkpoint(EMBEDDED, spec, model, tokenizer, device, dtype, "", settings.quantization)


@contextmanager
def as_the_class_has_it(model: Any) -> Iterator[Any]:
    """Remove our replacements of the modules' `forward` within the block."""
    over = [
        (module, module.__dict__.pop("forward")) for module in model.model.modules() if "forward" in module.__dict__
    ]
    try:
        yield model
    finally:
        for module, forward in over:
            module.forward = forward
