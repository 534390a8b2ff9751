"""Measurements inside the engine, as ratios within one run: re-encoding after a keystroke, diffusion over left-to-right
decoding with the same weights, a denoising step over one of stock `generate()`. For `palimpsest bench`; not a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch

from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.canvas import pieces
from palimpsest_engine.checkpoint import load
from palimpsest_engine.denoise import Canvas, as_stock, denoise, drawn
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.fill import Filler
from palimpsest_engine.layout import lay_out
from palimpsest_engine.left_to_right import write as write_left_to_right
from palimpsest_engine.passes import encode
from palimpsest_engine.prefix import PrefixCache
from palimpsest_engine.request import Fill, FillRequest, Span
from palimpsest_engine.shared import Prefixes, SharedPrefix, make_shared
from palimpsest_engine.spec import Sampling


def seconds(work: Callable[[], object], runs: int) -> list[float]:
    """Wall clock of each of so many runs, after one that does not count."""
    work()
    out = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        out.append(time.perf_counter() - begun)
    return out


def reencoding(settings: EngineSettings, text: str, at: int, runs: int = 15) -> dict[str, float]:
    """Encoding the context after one typed character, over encoding it from nothing: `fraction`, medians in
    milliseconds, and the tokens of either."""
    filler = Filler(load(settings))
    typed, tokens = text[:at] + "x" + text[at:], filler.tokens
    before = lay_out(pieces(FillRequest(text, (Span(at, at),))), filler.spec, tokens, "python").context
    after = lay_out(pieces(FillRequest(typed, (Span(at + 1, at + 1),))), filler.spec, tokens, "python").context
    warm = PrefixCache(filler.model)
    cold_ms, warm_ms, again = [], [], 0
    for _ in range(runs):  # by turns, so that a slow moment of the machine hits both
        cold_ms += [1000 * s for s in seconds(lambda: PrefixCache(filler.model).encode(before), 1)]
        warm.encode(before)
        begun = time.perf_counter()
        again = warm.encode(after)
        warm_ms.append(1000 * (time.perf_counter() - begun))
    return {
        "fraction": median(warm_ms) / median(cold_ms),
        "cold_ms": median(cold_ms),
        "warm_ms": median(warm_ms),
        "cold_tokens": len(before),
        "warm_tokens": again,
    }


def left_to_right(
    settings: EngineSettings, text: str, ats: Sequence[int], sizes: Sequence[int] = (8, 16, 32)
) -> dict[str, Any]:
    """The same holes of the same sizes filled by diffusion (one candidate, no ranking) and by the causal encoder of the
    same weights: hole tokens a second of both, and diffusion over left to right, per size and in the median."""
    filler = Filler(load(settings))
    rows = []
    for size in sizes:
        diffusion, causal = [], []
        for at in ats:
            request = FillRequest(text, (Span(at, at),), document="measure", sizes=(size,))
            context = lay_out(pieces(request), filler.spec, filler.tokens, None).context
            list(filler.fill(request))  # encodes the context: both sides begin warm

            def diffuse(request: FillRequest = request) -> None:
                *_, fill = filler.fill(request)
                assert isinstance(fill, Fill)

            def write(context: tuple[int, ...] = context, size: int = size) -> None:
                branch = filler.prefix_cache("measure").cache.branch(1, len(context) - 1)
                write_left_to_right(filler.model, branch, context[-1], size, filler.all_banned)

            diffusion += seconds(diffuse, 2)
            causal += seconds(write, 2)
        ratio = median(causal) / median(diffusion)
        rows.append(
            {
                "hole_tokens": size,
                "diffusion_tokens_per_second": size / median(diffusion),
                "left_to_right_tokens_per_second": size / median(causal),
                "ratio": ratio,
            }
        )
    return {"ratio": median(row["ratio"] for row in rows), "sizes": rows}


def steps(
    model: Any, canvases: Sequence[int], batches: Sequence[int], contexts: Sequence[int], runs: int = 5
) -> dict[str, Any]:
    """Milliseconds of a denoising step, by canvas, batch and context in tokens, ours and (for a whole canvas, batch 1) of
    stock `generate()`, by turns in one run. Each is the slope between few steps and many, so that prefill and other work that
    is done once is not in it. Random tokens: a step costs the same whatever they are.

    On a GPU also `recorded_step_ms`, over a shared prefix with the layers as a CUDA graph, which nothing else uses yet.
    `prefill_ms`: encoding the context from nothing, by its length. `memory_gib`: the most that was allocated, on a GPU.
    """
    vocabulary = model.config.get_text_config().vocab_size
    generator = torch.Generator(model.device).manual_seed(0)
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    make_shared(model)
    prefixes = Prefixes(recorded=True)
    rows, prefill = list[dict[str, float]](), dict[int, float]()
    for context in contexts:
        ids = torch.randint(vocabulary, (1, context), generator=generator, device=model.device)
        cache = RollbackCache.for_config(model.config.get_text_config())
        encode(model, cache, ids)
        prefill[context] = 1000 * median(seconds(partial(_prefill, model, ids), runs))
        for canvas in canvases:
            for batch in batches:
                ours = _Ours(model, cache.branch(batch), batch, canvas)
                row = {"canvas": canvas, "batch": batch, "context": context}
                stock = canvas == model.config.canvas_length and batch == 1
                ways: dict[str, Callable[[int], object]] = {"step_ms": ours.run}
                if model.device.type == "cuda":
                    ways["recorded_step_ms"] = partial(ours.run, over=prefixes.shared(cache))
                if stock:
                    ways["generate_step_ms"] = partial(_generate, model, ids)
                rows.append(row | slopes(ways, model.device, runs))
    both = [row["generate_step_ms"] / row["step_ms"] for row in rows if "generate_step_ms" in row]
    out: dict[str, Any] = {"steps": rows, "prefill_ms": {str(length): ms for length, ms in prefill.items()}}
    if both:
        out["ratio_over_generate"] = median(both)
    if model.device.type == "cuda":
        out["memory_gib"] = torch.cuda.max_memory_allocated(model.device) / 2**30
    return out


FEW, MANY = 2, 8
NEVER = 1e-30  # nats: too certain for any canvas to be done early


def slopes(ways: dict[str, Callable[[int], object]], device: torch.device, runs: int) -> dict[str, float]:
    """Milliseconds a step of each way, by turns: the median over the runs of what `MANY` steps take more than `FEW`."""
    took = {name: list[float]() for name in ways}
    for run in range(runs + 1):  # the first warms up
        for name, work in ways.items():
            each = []
            for count in (FEW, MANY):
                _wait(device)
                begun = time.perf_counter()
                work(count)
                _wait(device)
                each.append(time.perf_counter() - begun)
            if run:
                took[name].append(1000 * (each[1] - each[0]) / (MANY - FEW))
    return {name: median(values) for name, values in took.items()}


class _Ours:
    """Our loop over one canvas of holes alone that never stops early."""

    def __init__(self, model: Any, cache: RollbackCache, batch: int, canvas: int) -> None:
        self.model, self.cache = model, cache
        tokens = torch.zeros(batch, canvas, dtype=torch.long, device=model.device)
        self.canvas = Canvas(tokens, torch.ones_like(tokens, dtype=torch.bool))
        self.draw = drawn if model.device.type == "cpu" else as_stock

    def run(self, count: int, over: SharedPrefix | None = None) -> None:
        sampling = Sampling(max_steps=count, confidence=NEVER)
        generator = torch.Generator(self.model.device).manual_seed(0)
        for _ in denoise(self.model, over or self.cache, self.canvas, sampling, generator, self.draw):
            pass


def _prefill(model: Any, ids: torch.Tensor) -> None:
    encode(model, RollbackCache.for_config(model.config.get_text_config()), ids)
    _wait(model.device)


def _generate(model: Any, ids: torch.Tensor, count: int) -> None:
    model.generate(
        ids,
        max_new_tokens=model.config.canvas_length,
        eos_token_id=None,
        pad_token_id=None,
        max_denoising_steps=count,
        confidence_threshold=NEVER,
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
