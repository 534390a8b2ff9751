"""Times a denoising step of the 26B's shape: by format of its experts, against the library's, and kernel by kernel."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from palimpsest_bench.engine.hardware import floor
from palimpsest_bench.engine.peers import compilable, forget_compiled
from palimpsest_bench.engine.steps import Ours, generate
from palimpsest_bench.engine.subject import Subject, open_subject
from palimpsest_bench.engine.timing import at_most
from palimpsest_bench.gpu.clock import elapsed, slopes, spread
from palimpsest_bench.gpu.place import Place
from palimpsest_engine.cuda.graphs import Prefixes, unrecorded
from palimpsest_engine.engine import EngineSettings, Quantization
from palimpsest_engine.model.prefix_cache import PrefixCache

_KERNELS = 25  # those that take longest
_PROFILED = 4  # steps
_AFTER_COMPILING = 15.0  # seconds to time what was compiled


@dataclass
class Steps:
    """The steps of one model of random weights. until: the end of the time, by the monotonic clock."""

    place: Place
    until: float
    quantization: Quantization = "none"

    @cached_property
    def subject(self) -> Subject:
        """Return the model, drawn when it is first asked for."""
        place = self.place
        settings = EngineSettings(device=str(place.device), dtype=place.dtype, quantization=self.quantization)
        return open_subject(settings, place.shape)

    @cached_property
    def prefix(self) -> PrefixCache:
        """Return the encoded context."""
        prefix = PrefixCache(self.subject.model)
        prefix.encode(self.subject.random_ids(self.place.context))
        return prefix

    def items(self) -> dict[str, Callable[[Place], dict[str, Any]]]:
        """Return what is measured, by name, the most important first."""
        whole: dict[str, Callable[[Place], dict[str, Any]]] = {"load": self.load, "step": self.step}
        if self.quantization == "none":
            whole |= {"step and generate()": self.against_generate, "without a graph": self.without_a_graph}
            for parts, rows in ((1, 4), (4, 1), (4, 4)):
                name = f"a {'whole' if parts == 1 else 'quarter of a'} canvas, {rows} row{'s' * (rows > 1)}"
                whole[name] = partial(self.other, parts=parts, rows=rows)
            whole["prefill"] = self.prefill
        whole["kernel by kernel"] = self.kernels
        if self.quantization == "none":
            whole["step and generate(), compiled"] = self.against_compiled
        return whole

    def load(self, place: Place) -> dict[str, Any]:
        """Draw the model; say how long that took, and how much memory it has."""
        begun = time.monotonic()
        subject = self.subject
        fused = "forward" in vars(subject.model.model.decoder.layers[0])
        return {"seconds": time.monotonic() - begun, "loaded_gib": subject.loaded_gib, "fused": fused}

    def ours(self, rows: int = 1, canvas: int | None = None) -> Ours:
        """Return our loop over so many rows."""
        return Ours(self.subject, self.prefix, rows, canvas or self.subject.whole)

    def step(self, place: Place) -> dict[str, Any]:
        """Time a step of a whole canvas, one row."""
        return self.timed({"ours": self.ours().run}) | self.least()

    def least(self) -> dict[str, Any]:
        """Return the floor under that step and the memory at most."""
        subject = self.subject
        prefixes = subject.filler.resources.backend.prefixes
        found = floor(subject.model, subject.whole, 1, self.place.context, subject.rates)
        recorded = prefixes is not None and prefixes.recording
        return {"floor_ms": found["floor_ms"], "most_gib": subject.peak_gib(), "recorded": recorded}

    def timed(self, ways: dict[str, Callable[[int], object]]) -> dict[str, Any]:
        """Time ways of a step in turns."""
        return {"ways": slopes(ways, self.place.device, self.place.runs)}

    def stock(self, **more: Any) -> Callable[[int], object]:
        """Return the library's own loop over the same context."""
        return partial(generate, self.subject, self.subject.random_ids(self.place.context), **more)

    def against_generate(self, place: Place) -> dict[str, Any]:
        """Time a step against one of the library's `generate()`, in turns."""
        return self.timed({"ours": self.ours().run, "generate": self.stock()})

    def without_a_graph(self, place: Place) -> dict[str, Any]:
        """Time a step without CUDA graphs, and with a copy of the prefix for each row."""
        ours, prefixes = self.ours(), Prefixes(unrecorded)
        ways: dict[str, Callable[[int], object]] = {"prefix copied": self.over_a_copy}
        if self.subject.filler.resources.backend.prefixes is not None:
            ways["not recorded"] = partial(ours.run, over=prefixes.shared(self.prefix.cache))
        return self.timed(ways)

    def over_a_copy(self, count: int) -> None:
        """Run steps with the prefix copied for each row."""
        self.ours().run(count, over=self.prefix.cache.branch(1))

    def other(self, place: Place, parts: int, rows: int) -> dict[str, Any]:
        """Time a step of a part of a canvas with so many rows."""
        canvas = self.subject.whole // parts
        return self.timed({"ours": self.ours(rows, canvas).run}) | {"canvas": canvas, "rows": rows}

    def prefill(self, place: Place) -> dict[str, Any]:
        """Time the encoding of the context from nothing."""
        ids = self.subject.random_ids(place.context)
        work = partial(self.encode, ids)
        work()
        return spread([elapsed(work, place.device) for _ in range(place.runs)])

    def encode(self, ids: list[int]) -> None:
        """Encode a context from nothing."""
        PrefixCache(self.subject.model).encode(ids)

    def kernels(self, place: Place) -> dict[str, Any]:
        """Return the milliseconds a step of each kernel, by the profiler, and how often it is started."""
        from torch.profiler import ProfilerActivity, profile

        ours = self.ours()
        ours.run(_PROFILED)
        activity = ProfilerActivity.CUDA if place.on_gpu else ProfilerActivity.CPU
        with profile(activities=[activity], acc_events=True) as profiler:
            took = elapsed(partial(ours.run, _PROFILED), place.device)
        rows = []
        for each in profiler.key_averages():
            spent = each.self_device_time_total if place.on_gpu else each.self_cpu_time_total
            rows.append({"name": each.key, "ms": spent / 1000 / _PROFILED, "times": each.count / _PROFILED})
        rows.sort(key=lambda row: -row["ms"])
        busy = sum(row["ms"] for row in rows)
        return {"step_ms": took / _PROFILED, "busy_ms": busy, "kernels": rows[:_KERNELS]}

    def against_compiled(self, place: Place) -> dict[str, Any]:
        """Time a step against one of `generate()` with its static cache, compiled by the library, in turns."""
        compiled, begun = self.stock(cache_implementation="static"), time.monotonic()
        try:
            until = self.until - begun - _AFTER_COMPILING
            with at_most(until, "compiling the library's static path"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's remarks on the library
                compilable()
                compiled(3)  # the first step is another graph than those after it
                compiled(3)
            took = time.monotonic() - begun
            return self.timed({"ours": self.ours().run, "generate": compiled}) | {"compile_s": took}
        finally:
            forget_compiled(self.subject.stock)
