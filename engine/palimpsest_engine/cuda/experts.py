"""Give a mixture's experts to the Triton kernels, where those run, are right, and take less time than the class's way.

Quantised experts always use the kernels if they can: their plain form in `model/moe.py` is far slower. Experts that are not
quantised use them only if a measurement says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from palimpsest_engine.cuda import kernels
from palimpsest_engine.cuda.timing import seconds
from palimpsest_engine.model.moe import Grouped, QuantisedExperts, plain, quantised_experts
from palimpsest_engine.model.quantize import Stored, as_it_is, quantise

log = logging.getLogger("palimpsest.engine")
GELU = "gelu_pytorch_tanh"  # the only activation that the kernels compute
_TRIAL = 0.02  # four times the error that bfloat16 makes
_TIMED = 5


def give_kernels(model: Any) -> None:
    """Let the kernels compute the quantised experts of a model, if it has any and the kernels can be used."""
    if model.config.get_text_config().hidden_activation != GELU:
        return
    for experts in quantised_experts(model):
        experts.grouped = by_kernels(model.device, experts.format)


@cache
def by_kernels(device: torch.device, format: Stored) -> Grouped | None:
    """Return the kernels for experts in a format, or None if they cannot be compiled for this device or are wrong on a trial.

    The first call takes seconds and waits for the device.
    """
    if device.type != "cuda" or not kernels.usable(device):
        return None

    def off() -> float:
        from palimpsest_engine.cuda.kernels.moe import grouped_experts

        return trial(device, format, grouped_experts)

    if not kernels.right(f"experts in the format {format}", device, off, _TRIAL):
        return None
    from palimpsest_engine.cuda.kernels.moe import grouped_experts

    return grouped_experts


def trial(device: torch.device, format: Stored, grouped: Grouped) -> float:
    """Return ‖difference‖ / ‖exact‖ of `grouped` in bfloat16 against the plain form in float32, on random experts in which
    every code occurs."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"gate_up": (3, 256, 192), "down": (3, 192, 128), "hidden": (40, 192), "scores": (40, 3)}
    drawn = {name: torch.randn(size, generator=generator).to(device) for name, size in sizes.items()}
    both = drawn["gate_up"] * 0.1, drawn["down"]
    gate_up, down = (as_it_is(each.to(torch.bfloat16)) if format == "none" else quantise(each, format) for each in both)
    counts, index = drawn["scores"].softmax(-1).topk(2, dim=-1)
    hidden = drawn["hidden"].to(torch.bfloat16)
    exact = plain(hidden.float(), index, counts, gate_up, down, lambda gate: F.gelu(gate, approximate="tanh"))
    found = grouped(hidden, index, counts, gate_up, down)
    return float((found.float() - exact).norm() / exact.norm())


@torch.inference_mode()
def make_grouped(model: Any) -> bool:
    """Let the kernels compute experts that are not quantised, if they take less time for a canvas than the class's way;
    return whether that was done. The layers must be fused.

    The class's way goes from expert to expert below compute capability 9.0 and waits for the device before that, so that
    it cannot be recorded (pytorch/pytorch#169970).
    """
    layers = model.model.decoder.layers
    first = layers[0].experts
    grouped = None if isinstance(first, QuantisedExperts) else by_kernels(model.device, "none")
    if grouped is None:
        return False
    generator = torch.Generator(model.device).manual_seed(0)
    shape = model.config.canvas_length, first.gate_up_proj.shape[-1]
    hidden = torch.randn(shape, generator=generator, device=model.device, dtype=model.dtype)
    scores = torch.rand(len(hidden), len(first.gate_up_proj), generator=generator, device=model.device)
    weights, index = scores.softmax(-1).topk(layers[0].fused.most, dim=-1)
    ways = first, kernels_of(grouped, first)
    took = [min(seconds(partial(way, hidden, index, weights), _TIMED, model.device)) for way in ways]
    log.info("experts of a canvas: %.2f ms by the class, %.2f ms by our kernels", *(1000 * each for each in took))
    if took[1] >= took[0]:
        return False
    for layer in layers:
        layer.fused.experts = kernels_of(grouped, layer.experts)
    return True


def kernels_of(grouped: Grouped, experts: Any) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return a function that computes the class's experts by the kernels: hidden `[T, hidden]`, index and weights `[T, K]`
    to `[T, hidden]`."""
    gate_up, down = as_it_is(experts.gate_up_proj), as_it_is(experts.down_proj)
    return lambda hidden, index, weights: grouped(hidden, index, weights, gate_up, down)
