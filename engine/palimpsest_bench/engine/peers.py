"""Measures the alternatives on the same weights: stock `generate()`, the same compiled, and left to right."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from palimpsest_bench.engine.steps import Ours, generate
from palimpsest_bench.engine.subject import Subject
from palimpsest_bench.engine.timing import at_most, slopes
from palimpsest_bench.failures import sentence
from palimpsest_engine.decoding.autoregressive import write
from palimpsest_engine.errors import PalimpsestError
from palimpsest_engine.model.prefix_cache import PrefixCache

STEPS_A_CANVAS = 16


def peers(subject: Subject, context: int, runs: int = 5, until: float = float("inf")) -> dict[str, Any]:
    """Time a step of a whole canvas, batch 1, and a token left to right, in turns within one run.

    `ours`; `generate` with its dynamic cache; `static`: `generate` with its static cache, compiled by the library;
    `left_to_right`. All are milliseconds, slopes as in `steps`, so that they contain neither prefill nor compiling;
    `compile_s` is the time of compiling. `tokens_per_second`: tokens of a whole canvas over 16 steps. If the static path
    fails, `static` is None and `static_reason` says why.
    """
    ids = subject.random_ids(context)
    prefix = PrefixCache(subject.model)
    prefix.encode(ids)
    banned = subject.filler.resources.all_banned

    def left_to_right(count: int) -> None:
        write(subject.model, prefix.cache.branch(1, context - 1), ids[-1], count, banned)

    ways: dict[str, Callable[[int], object]] = {
        "ours": Ours(subject, prefix, 1, subject.whole).run,
        "generate": partial(generate, subject, ids),
        "left_to_right": left_to_right,
    }
    compile_s, reason = None, ""
    static = partial(generate, subject, ids, cache_implementation="static")
    try:
        begun = time.monotonic()
        with at_most(until - begun, "compiling the library's static path"):
            compilable()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's remarks on the library
                static(3)  # the first step is another graph than those after it
                static(3)
        compile_s = time.monotonic() - begun
        ways["static"] = static
    except Exception as error:
        reason = sentence(error)
    took = slopes(ways, subject.device, runs)
    forget_compiled(subject.stock)
    rate = {name: 1000 / ms for name, ms in took.items()}
    canvases = {name: each * subject.whole / STEPS_A_CANVAS for name, each in rate.items()}
    found: dict[str, Any] = {
        "context": context,
        "canvas": subject.whole,
        "library_threads": subject.library_threads,
        **took,
        "static": took.get("static"),
        "static_reason": reason,
        "compile_s": compile_s,
    }
    return {
        "peers": found,
        "ratio_over_generate": took["generate"] / took["ours"],
        "ratio_over_generate_static": took["static"] / took["ours"] if "static" in took else None,
        "tokens_per_second": canvases | {"left_to_right": rate["left_to_right"]},
    }


def compilable() -> None:
    """Raise PalimpsestError if there is no C++ compiler, which torch and Triton need."""
    from torch._inductor import config

    asked = config.cpp.cxx
    names = [name for name in (asked if isinstance(asked, tuple) else (asked,)) if name]
    if not any(shutil.which(name) for name in (*names, "g++", "clang++", "cl")):
        raise PalimpsestError("torch.compile needs a C++ compiler such as g++, and there is none here")


def forget_compiled(stock: Any) -> None:
    """Free the cache and the compiled functions that the library keeps for its next call."""
    kept = (*stock.__dict__, *stock._modules)
    for name in [name for name in kept if name == "_cache" or name.startswith("_compiled_")]:
        delattr(stock, name)
    torch._dynamo.reset()
