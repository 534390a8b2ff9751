"""The parts of `palimpsest bench`. Each measures one thing and returns figures as `docs/json.md` names them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from palimpsest_bench.plan import Plan
from palimpsest_bench.server import stand_ins

SERVER = (sys.executable, "-m", "palimpsest_server", "serve")
SCRIPTED_SERVER = stand_ins.command("scripted", script=["value"])
_BIG = 10_000_000
_SHOWN = (50, 95, 25, 75)  # percentiles: the median, the 95th, and the quartiles around the median
# Limits for the long parts, in seconds; a quarter of that with --quick.
_STEPS_SECONDS, _CONTEXTS_SECONDS, _PEERS_SECONDS = 150.0, 240.0, 300.0


def keystroke(plan: Plan) -> dict[str, Any]:
    """Time a keystroke until the user sees the suggestion, with the checkpoint."""
    from palimpsest_bench.server import observe

    real = observe.observe(SERVER, plan.section, plan.document, 6 if plan.quick else 40)
    return {
        "model": real.model,
        "device": real.device,
        "initialize_ms": round(real.initialize_ms, 1),
        "ready_ms": round(real.ready_ms, 1),
        "first_answer_ms": observe.percentiles([each.first_answer_ms for each in real.keystrokes], *_SHOWN),
        "keystroke_ms": observe.percentiles([each.settled_ms for each in real.keystrokes], *_SHOWN),
        "foretold_keystrokes": real.foretold,
        "memory_mb": round(real.memory_mb, 1),
    }


def start(plan: Plan) -> dict[str, Any]:
    """Time the start of the process until `initialize` is answered, and compare it with a bare pygls server."""
    from palimpsest_bench.server.startup import start_ratio

    return {"start": start_ratio(3 if plan.quick else 10)}


def overhead(plan: Plan) -> dict[str, Any]:
    """Time a keystroke as in `keystroke`, with an engine that takes no time."""
    from palimpsest_bench.server import observe

    scripted = observe.observe(SCRIPTED_SERVER, {}, plan.document, 20 if plan.quick else 40)
    figures = observe.percentiles([each.settled_ms for each in scripted.keystrokes], *_SHOWN)
    return {"server_overhead_ms": figures["p50"], "server_overhead": figures}


def typing(plan: Plan) -> dict[str, Any]:
    """Time typing where every keystroke reaches an engine that takes no time."""
    from palimpsest_bench.server import figures

    return {"overhead_typing_ms": figures.typing(plan.document, 1000 if plan.quick else 10_000)}


def along(plan: Plan) -> dict[str, Any]:
    """Time typing along a suggestion."""
    from palimpsest_bench.server import figures

    return {"along_ms": figures.along(plan.document, 300 if plan.quick else 2000)}


def share(plan: Plan) -> dict[str, Any]:
    """Count the keystrokes of the typing sessions that reach the model, at the sessions' own pace."""
    from palimpsest_bench.server import figures

    return {"model_share": figures.model_share(100 if plan.quick else None)}


def superseded(plan: Plan) -> dict[str, Any]:
    """Count the denoising steps of jobs that a keystroke has ended."""
    from palimpsest_bench.server import figures

    return {"superseded_steps": figures.superseded_steps(plan.document, 50 if plan.quick else 300)}


def memory(plan: Plan) -> dict[str, Any]:
    """Measure how memory grows over an hour's events."""
    from palimpsest_bench.server import figures

    return {"memory_growth": figures.memory_growth(0.2 if plan.quick else 1.0)}


def big(plan: Plan) -> dict[str, Any]:
    """Time a keystroke in a file of ten million characters."""
    from palimpsest_bench.server import figures

    return {"big_file_ms": figures.big_file(plan.document, _BIG, 50 if plan.quick else 500)}


def files(plan: Plan) -> dict[str, Any]:
    """Time a keystroke in files of a thousand to a million characters."""
    from palimpsest_bench.server import real

    overhead = real.files(SCRIPTED_SERVER, {}, plan.document, 12 if plan.quick else 40)
    return {
        "files": {
            "overhead_ms": overhead,
            "keystroke_ms": real.files(SERVER, plan.section, plan.document, 5 if plan.quick else 25),
        }
    }


def session(plan: Plan) -> dict[str, Any]:
    """Replay the typing sessions with the checkpoint, at their own pace."""
    from palimpsest_bench.server import real
    from palimpsest_engine.checkpoint.describe import describe

    languages = describe(plan.settings).spec.languages
    return real.sessions(SERVER, plan.section, languages, 40 if plan.quick else 300)


def hardware(plan: Plan) -> dict[str, Any]:
    """Describe the machine and measure its limits; the first part that imports torch into this process."""
    from palimpsest_bench.engine.hardware import machine

    begun = time.perf_counter()
    subject = plan.subject
    loaded, rates = time.perf_counter() - begun, subject.rates
    return {
        "hardware": machine(subject.device)
        | {
            "model": subject.checkpoint.name,
            "device": subject.checkpoint.device,
            "dtype": subject.checkpoint.dtype,
            "number_format": subject.checkpoint.number_format,
            "quantization": plan.settings.quantization,
            "matmul_tflops": rates.flops / 1e12,
            "copy_gb_per_second": rates.bandwidth / 1e9,
            "load_s": loaded,
        }
    }


def engine(plan: Plan) -> dict[str, Any]:
    """Measure re-encoding after a keystroke, and diffusion against left-to-right decoding."""
    from palimpsest_bench.engine import fills
    from palimpsest_bench.server import observe

    cursors = observe.cursors(plan.document, 3 if plan.quick else 6)
    reencoding = fills.reencoding(plan.subject, plan.document, cursors[len(cursors) // 2])
    left_to_right = fills.left_to_right(plan.subject, plan.document, cursors)
    return {
        "reencode_fraction": reencoding["fraction"],
        "reencoding": reencoding,
        "ratio_over_left_to_right": left_to_right["ratio"],
        "left_to_right": left_to_right,
    }


def steps(plan: Plan) -> dict[str, Any]:
    """Time a denoising step by canvas, batch and context, and compare it with stock `generate()`."""
    from palimpsest_bench.engine.steps import steps as measured

    whole, until = plan.subject.whole, plan.no_later_than(_STEPS_SECONDS)
    canvases, runs = [whole, whole // 2, whole // 4], 2 if plan.quick else 7
    found = measured(plan.subject, canvases, [1, 4], plan.lengths, runs, until)
    return {
        "shape": plan.shape,
        "device": plan.subject.checkpoint.device,
        "dtype": plan.subject.checkpoint.dtype,
    } | found


def contexts(plan: Plan) -> dict[str, Any]:
    """Time contexts of 256 to 65,536 tokens."""
    from palimpsest_bench.engine.contexts import LENGTHS
    from palimpsest_bench.engine.contexts import contexts as measured

    lengths = [each for each in LENGTHS if each <= 4096] if plan.quick else LENGTHS
    return measured(plan.subject, lengths, 2 if plan.quick else 3, plan.no_later_than(_CONTEXTS_SECONDS))


def hole(plan: Plan) -> dict[str, Any]:
    """Time the fill of a hole of 64 tokens, from text to text."""
    from palimpsest_bench.engine import fills

    return fills.hole(plan.subject, plan.document, 3 if plan.quick else 9)


def peers(plan: Plan) -> dict[str, Any]:
    """Time the alternatives to our decoder on the same weights."""
    from palimpsest_bench.engine.peers import peers as measured
    from palimpsest_bench.engine.steps import middle

    return measured(plan.subject, middle(plan.lengths), 3 if plan.quick else 7, plan.no_later_than(_PEERS_SECONDS, 1.0))


def diffusers(plan: Plan) -> dict[str, Any]:
    """Compare our loop with the pipeline of the library diffusers; a sentence where that is not installed."""
    from palimpsest_bench.engine.diffusers_peer import peer
    from palimpsest_bench.engine.steps import middle

    found = peer(plan.subject, plan.document, middle(plan.lengths), 10 if plan.quick else 200, 3 if plan.quick else 7)
    return {"diffusers": found}


def quantization(plan: Plan) -> dict[str, Any]:
    """Measure the error of quantised experts; nothing for models without unquantised experts."""
    import torch

    from palimpsest_bench.engine.quantize_error import by_layer, windows
    from palimpsest_bench.engine.subject import as_the_class_has_it

    subject = plan.subject
    if subject.text.num_experts == 1 or plan.settings.quantization != "none":
        return {}
    rows, context = (2, 64) if plan.quick else (8, 256)
    ids = subject.random_ids(rows * (context + subject.whole))
    with as_the_class_has_it(subject.model) as model, torch.inference_mode():
        before, canvas = windows(ids, rows, context, subject.whole, subject.text.vocab_size)
        return {"quantization_error": by_layer(model, before.to(subject.device), canvas.to(subject.device))}


def next_edits(plan: Plan) -> dict[str, Any]:
    """Time the search for what follows from a change, which asks no model."""
    from palimpsest_bench.next_edits import by_length

    return {"next_edits": by_length(20 if plan.quick else 100)}


def windows(plan: Plan) -> dict[str, Any]:
    """Open one, two and three windows that share an engine process, and as many that do not; kill that process under ten."""
    from palimpsest_bench.windows import windows as opened

    return opened(plan.settings, plan.section)


def socket(plan: Plan) -> dict[str, Any]:
    """Time a request over the socket to an engine process that answers at once."""
    from palimpsest_bench.windows import socket as timed

    return timed(plan.document, 200 if plan.quick else 2000)


def fairness(plan: Plan) -> dict[str, Any]:
    """Time a quiet client of an engine beside fifty that storm: with fills of a fixed time, and with the checkpoint."""
    from palimpsest_bench.fairness import fairness as measured
    from palimpsest_bench.fairness import fixed_time
    from palimpsest_bench.windows import turns
    from palimpsest_engine import open_engine

    samples = 4 if plan.quick else 24
    engines = {"fixed time": fixed_time(0.02), "checkpoint": open_engine(plan.settings)}
    return {"fairness": [turns(plan.document, samples), *measured(engines, plan.document, samples)]}


Part = Callable[[Plan], dict[str, Any]]
# The order: first the parts without torch in this process, last those that may fail or take long.
PARTS: dict[str, Part] = {
    part.__name__: part
    for part in (
        *(keystroke, start, overhead, typing, along, share, superseded, memory, big, files, session, next_edits),
        *(windows, socket),
        *(hardware, engine, steps, contexts, hole, quantization, peers, diffusers, fairness),
    )
}
WITHOUT_A_CHECKPOINT = ("hardware", "steps", "contexts", "hole", "quantization", "peers", "diffusers")
