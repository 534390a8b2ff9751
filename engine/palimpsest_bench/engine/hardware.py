"""Describes this machine and measures its limits: the floor under a denoising step. Knows no fills."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from palimpsest_engine.cuda.timing import wait

FLAGS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx_vnni", "avx2")
_SECONDS = 0.4  # for each rate


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates that the device achieves.

    flops: floating-point operations a second of a large matrix product in the model's number format. bandwidth: bytes a
    second of a large copy, reads and writes counted.
    """

    flops: float
    bandwidth: float

    @classmethod
    def measured(cls, device: torch.device, dtype: torch.dtype) -> Rates:
        """Measure the rates on this device, with torch's present number of threads."""
        gpu = device.type == "cuda"
        width = 8192 if gpu else 1536
        generator = torch.Generator(device).manual_seed(0)
        a, b = (torch.randn(width, width, device=device, generator=generator).to(dtype) for _ in range(2))
        product = torch.empty_like(a)
        flops = 2 * width**3 / best(lambda: torch.mm(a, b, out=product), device)
        source = torch.ones(2**30 if gpu else 2**27, dtype=torch.uint8, device=device)
        there = torch.empty_like(source)
        return cls(flops, 2 * source.nbytes / best(lambda: there.copy_(source), device))


def best(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the quickest of some runs, within a limited time."""
    work()
    took, until = list[float](), time.perf_counter() + _SECONDS
    while len(took) < 3 or (time.perf_counter() < until and len(took) < 200):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        took.append(time.perf_counter() - begun)
    return min(took)


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the processor, the GPU if it is used, and the versions of the libraries."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name, flags = processor()
    gpu = None
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        gpu = {
            "name": about.name,
            "memory_gib": round(about.total_memory / 2**30, 1),
            "capability": f"{about.major}.{about.minor}",
            "cuda": torch.version.cuda,
        }
    versions = {"python": platform.python_version()}
    for package in ("torch", "transformers", "triton"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = ""
    return {
        "cpu": {"name": name, "flags": flags, "cores": cores, "threads": torch.get_num_threads()},
        "gpu": gpu,
        "versions": versions,
    }


def processor(info: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str]]:
    """Return the processor's name, and those of its instruction sets that matter to matrix products."""
    try:
        lines = info.read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), [torch.backends.cpu.get_cpu_capability().lower()]
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    present = set(fields.get("flags", "").split())
    return fields.get("model name", platform.machine()), [flag for flag in FLAGS if flag in present]


def floor(model: Any, canvas: int, batch: int, context: int, rates: Rates) -> dict[str, float]:
    """Return the least time that a denoising step can take.

    Either all weights of the decoder and the keys and values of the context are read once, at the rate of a copy; or the
    arithmetic runs at the rate of a large product. The larger time counts. Activations are ignored.
    """
    size = stored(model) + batch * context_bytes(model, context)
    flops = batch * operations(model, canvas, context)
    memory, arithmetic = 1000 * size / rates.bandwidth, 1000 * flops / rates.flops
    return {
        "floor_ms": max(memory, arithmetic),
        "memory_ms": memory,
        "arithmetic_ms": arithmetic,
        "gigabytes": size / 1e9,
        "gigaflop": flops / 1e9,
    }


def stored(model: Any) -> int:
    """Return the bytes that a pass of the decoder reads: parameters and buffers, tied ones once."""
    decoder = model.model.decoder
    tensors = {each.data_ptr(): each.nbytes for each in (*decoder.parameters(), *decoder.buffers())}
    return sum(tensors.values())


def _layers(model: Any) -> list[tuple[int, int, int, int | None]]:
    """Return for each layer the widths of queries, of keys, and of values that differ from the keys, and its window."""
    out = []
    text = model.config.get_text_config()
    for layer, kind in zip(model.model.decoder.layers, text.layer_types, strict=True):
        inputs = layer.self_attn
        values = 0 if inputs.v_proj is None else inputs.v_proj.out_features
        window = text.sliding_window if kind == "sliding_attention" else None
        out.append((inputs.q_proj.out_features, inputs.k_proj.out_features, values, window))
    return out


def context_bytes(model: Any, context: int) -> int:
    """Return the bytes of the keys and values that one row reads."""
    size: int = next(model.parameters()).element_size()
    return sum(
        2 * keys * size * (context if window is None else min(context, window - 1))
        for _, keys, _, window in _layers(model)
    )


def operations(model: Any, canvas: int, context: int) -> float:
    """Return the floating-point operations of one row's step: two for each weight at each position, plus attention."""
    text = model.config.get_text_config()
    total = 0.0
    for queries, keys, values, window in _layers(model):
        dense = 2 * queries + keys + values + 3 * text.intermediate_size + text.num_experts
        routed = 3 * text.top_k_experts * text.moe_intermediate_size
        seen = canvas + (context if window is None else min(context, window - 1))
        total += 2 * canvas * text.hidden_size * (dense + routed) + 4 * canvas * seen * queries
    # The head, the embeddings of the last probabilities, and the gated path that adds them.
    total += 2 * canvas * text.hidden_size * (2 * text.vocab_size + 3 * text.intermediate_size)
    return float(total)
