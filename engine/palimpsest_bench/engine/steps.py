"""Measures a denoising step by canvas, batch and context: ours, its variants, and the library's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from palimpsest_bench.engine.hardware import floor
from palimpsest_bench.engine.subject import NEVER, Subject, as_the_class_has_it
from palimpsest_bench.engine.timing import slopes
from palimpsest_bench.failures import sentence
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.cuda.graphs import Prefixes, unrecorded
from palimpsest_engine.cuda.timing import seconds
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import drawn
from palimpsest_engine.model.prefix_cache import PrefixCache


def steps(
    subject: Subject,
    canvases: Sequence[int],
    batches: Sequence[int],
    contexts: Sequence[int],
    runs: int = 5,
    until: float = float("inf"),
) -> dict[str, Any]:
    """Time a denoising step by canvas, batch and context in tokens, in milliseconds.

    Stock `generate()` is timed in turns with ours, for a whole canvas of batch 1. Each time is the slope between few steps
    and many, which leaves out prefill and other work that is done once. The tokens are random; they do not affect the time.

    On a GPU the engine uses `recorded_step_ms`: a shared prefix and the layers as a CUDA graph. It is compared with
    `shared_step_ms`, without the graph, and `plain_step_ms`, with the prefix copied to every row. `steps_failed` says
    which of these failed, and why. `prefill_ms`: encoding the context from nothing, by length. Combinations later than
    `until` (seconds of the monotonic clock) are left out and counted.
    """
    rows, prefill, failed, left_out = list[dict[str, float]](), dict[str, float](), dict[str, str](), 0
    for context in sorted(contexts, key=lambda each: abs(each - middle(contexts))):  # the most important one first
        if time.monotonic() > until and rows:
            left_out += len(canvases) * len(batches)
            continue
        ids = subject.random_ids(context)
        prefill[str(context)] = 1000 * median(
            seconds(lambda ids=ids: PrefixCache(subject.model).encode(ids), runs, subject.device)  # type: ignore[misc]
        )
        prefix = PrefixCache(subject.model)
        prefix.encode(ids)
        for canvas in canvases:
            for batch in batches:
                if time.monotonic() > until and rows:
                    left_out += 1
                    continue
                ours = Ours(subject, prefix, batch, canvas)
                ways: dict[str, Callable[[int], object]] = {"step_ms": ours.run}
                if canvas == subject.whole and batch == 1:
                    ways["generate_step_ms"] = partial(generate, subject, ids)
                row = {"canvas": canvas, "batch": batch, "context": context} | slopes(ways, subject.device, runs)
                rows.append(row | other_ways(ours, row["step_ms"], runs, failed))
    rows.sort(key=lambda row: (row["context"], -row["canvas"], row["batch"]))
    out: dict[str, Any] = {"steps": rows, "prefill_ms": dict(sorted(prefill.items(), key=lambda each: int(each[0])))}
    out |= summary(subject, rows, middle(contexts))
    if failed:
        out["steps_failed"] = failed
    if left_out:
        out["steps_left_out"] = left_out
    if (peak := subject.peak_gib()) is not None:
        out |= {"memory_gib": peak, "memory_loaded_gib": subject.loaded_gib}
    return out


def middle(values: Sequence[int]) -> int:
    """Return the middle one of some lengths."""
    return sorted(values)[len(values) // 2]


def summary(subject: Subject, rows: Sequence[dict[str, float]], context: int) -> dict[str, Any]:
    """Return the representative figures: a whole canvas, batch 1, the middle context."""
    whole = [row for row in rows if row["canvas"] == subject.whole and row["batch"] == 1]
    out: dict[str, Any] = {}
    if both := [row["generate_step_ms"] / row["step_ms"] for row in whole if "generate_step_ms" in row]:
        out["ratio_over_generate"] = median(both)
    if one := [row for row in whole if row["context"] == context]:
        least = floor(subject.model, subject.whole, 1, context, subject.rates)
        step = one[0]["step_ms"]
        out |= {"step_ms": step, "floor": least, "step_over_floor": step / least["floor_ms"]}
    return out


@dataclass
class Ours:
    """Our loop over a canvas that is all hole and never stops early, after an encoded prefix."""

    subject: Subject
    prefix: PrefixCache
    batch: int
    canvas: int

    def run(self, count: int, over: Any = None) -> None:
        """Run `count` steps. over: the cache to read the prefix from; by default the engine's own."""
        model = self.subject.model
        tokens = torch.zeros(self.batch, self.canvas, dtype=torch.long, device=model.device)
        canvas = Canvas(tokens, torch.ones_like(tokens, dtype=torch.bool))
        sampling = Sampling(max_steps=count, confidence=NEVER)
        generator = torch.Generator(model.device).manual_seed(0)
        if over is None:
            over = self.subject.filler.resources.backend.prefix(self.prefix.cache, self.batch)
        for _ in denoise(model, over, canvas, sampling, generator, drawn):
            pass


def other_ways(ours: Ours, step_ms: float, runs: int, failed: dict[str, str]) -> dict[str, float]:
    """Time the variants of a step on a GPU. One that fails is not tried again."""
    recorded = ours.subject.filler.resources.backend.prefixes
    if recorded is None:
        return {}
    out = dict[str, float]()
    if recorded.recording:
        out["recorded_step_ms"] = step_ms
    else:
        failed["recorded_step_ms"] = "the decoder's layers cannot be recorded as a CUDA graph here"
    prefixes = Prefixes(unrecorded)
    ways: dict[str, Callable[[], Any]] = {
        "shared_step_ms": lambda: prefixes.shared(ours.prefix.cache),
        "plain_step_ms": lambda: ours.prefix.cache.branch(ours.batch),
    }
    for name, read in ways.items():
        if name in failed:
            continue
        try:
            out |= slopes({name: partial(ours.run, over=read())}, ours.subject.device, runs)
        except Exception as error:
            failed[name] = sentence(error)
    return out


def generate(subject: Subject, ids: Sequence[int], count: int, **more: Any) -> None:
    """Run the library's own loop over one canvas for exactly `count` steps, with the faster of our and torch's threads."""
    if subject.library_threads is None:
        numbers = {subject.torch_threads, torch.get_num_threads()}
        ways: dict[str, Callable[[int], object]] = {
            str(each): partial(_generate, subject, ids, threads=each) for each in numbers
        }
        took = slopes(ways, subject.device, 3) if len(numbers) > 1 and not subject.on_gpu else {}
        subject.library_threads = int(min(took, key=took.__getitem__)) if took else torch.get_num_threads()
    _generate(subject, ids, count, subject.library_threads, **more)


def _generate(subject: Subject, ids: Sequence[int], count: int, threads: int, **more: Any) -> None:
    stock, before = subject.stock, torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with as_the_class_has_it(stock) if stock is subject.model else nullcontext():
            stock.generate(
                torch.tensor([ids], device=subject.device),
                max_new_tokens=subject.whole,
                eos_token_id=None,
                pad_token_id=None,
                max_denoising_steps=count,
                confidence_threshold=NEVER,
                **more,
            )
    finally:
        torch.set_num_threads(before)
