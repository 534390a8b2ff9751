"""Measures the pipeline of the library diffusers on the same weights: its step, and pins that its step callback imposes.

The pipeline has no pins of its own. A callback after each step may replace the canvas, so a hole can be filled by writing the
known tokens back there. Needs the package `diffusers`, which nothing else here uses.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any

import torch

from palimpsest_bench.engine.steps import Ours
from palimpsest_bench.engine.subject import Subject, as_the_class_has_it
from palimpsest_bench.engine.timing import slopes
from palimpsest_bench.failures import sentence
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import drawn
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.layout import lay_out
from palimpsest_engine.prompt.pieces import pieces
from palimpsest_engine.request import FillRequest, Span

HOLE_CHARACTERS = 12
STEPS = 16
SAMPLING = Sampling(max_steps=STEPS)  # the published defaults, which are those of diffusers, too


@dataclass(frozen=True, slots=True)
class Case:
    """A hole in a canvas: the context, the pinned tokens after the hole, and the tokens that were there."""

    context: tuple[int, ...]
    truth: tuple[int, ...]
    pins: tuple[int, ...]


def peer(subject: Subject, text: str, context: int, count: int, runs: int) -> dict[str, Any]:
    """Compare our loop with the pipeline over `count` holes of a text; and their steps of a whole canvas, in turns.

    `step_ms`: milliseconds of ours and of theirs. `pins`: for ours; for the pipeline with its own stop (`diffusers`); and
    for all steps of it (`diffusers, all steps`): `kept`, the share of pinned tokens that are in the result; `whole`, the
    share of canvases with all of them; `right`, the share of the holes' tokens that are as they were; `steps` on average.
    If the package is missing or fails, `reason` says why.
    """
    found: dict[str, Any] = {"version": None, "reason": ""}
    try:
        found["version"] = importlib.metadata.version("diffusers")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that transformers will drop
            ways: dict[str, Callable[[Case, int], Filled]] = {
                "ours": partial(ours, subject),
                "diffusers": partial(theirs, subject, stops=True),
                "diffusers, all steps": partial(theirs, subject, stops=False),
            }
            places = cases(subject, text, count)
            found["pins"] = {name: summed(places, way) for name, way in ways.items()}
            found["step_ms"] = step_ms(subject, context, runs)
    except importlib.metadata.PackageNotFoundError:
        found["reason"] = "the package diffusers is not installed"
    except Exception as error:  # the library is another one's, and changes
        found["reason"] = sentence(error)
    else:
        found |= {"holes": len(places), "max_steps": STEPS}
        found["ratio"] = found["step_ms"]["diffusers"] / found["step_ms"]["ours"]
    return found


def cases(subject: Subject, text: str, count: int) -> list[Case]:
    """Return holes at places spread over a text, laid out as for a fill."""
    filler, whole, out = subject.filler, subject.whole, list[Case]()
    for number in range(count):
        start = len(text) * (number + 1) // (count + 2)
        end = start + HOLE_CHARACTERS
        layout = lay_out(pieces(FillRequest(text, (Span(start, end),))), filler.spec, filler.tokens, "python")
        truth = filler.tokens.encode(layout.healed + text[start:end])
        pins = [*layout.right, *[layout.end] * whole][: whole - len(truth)]
        out.append(Case(layout.context, tuple(truth), tuple(pins)))
    return out


@dataclass(frozen=True, slots=True)
class Filled:
    """A canvas after the last step, and the number of steps."""

    tokens: tuple[int, ...]
    steps: int


def summed(places: Sequence[Case], way: Callable[[Case, int], Filled]) -> dict[str, float]:
    """Fill all holes one way and sum up."""
    rows = [(case, way(case, seed)) for seed, case in enumerate(places)]
    kept = [[a == b for a, b in zip(filled.tokens[len(case.truth) :], case.pins, strict=True)] for case, filled in rows]
    right = [a == b for case, filled in rows for a, b in zip(filled.tokens, case.truth, strict=False)]
    return {
        "kept": mean(each for row in kept for each in row),
        "whole": mean(all(row) for row in kept),
        "right": mean(right),
        "steps": mean(filled.steps for _, filled in rows),
    }


def ours(subject: Subject, case: Case, seed: int) -> Filled:
    """Fill a hole by our loop."""
    prefix, size = PrefixCache(subject.model), len(case.truth)
    prefix.encode(case.context)
    tokens = torch.tensor([[*case.truth, *case.pins]], device=subject.device)
    is_hole = (torch.arange(tokens.shape[1], device=subject.device) < size)[None]
    over = subject.filler.resources.backend.prefix(prefix.cache, 1)
    generator = torch.Generator(subject.device).manual_seed(seed)
    *_, last = denoise(subject.model, over, Canvas(tokens, is_hole), SAMPLING, generator, drawn)
    return Filled(tuple(last.tokens[0].tolist()), last.number)


def theirs(subject: Subject, case: Case, seed: int, stops: bool) -> Filled:
    """Fill a hole by the pipeline; its callback writes the pins back after each step."""
    pins, size = torch.tensor(case.pins, device=subject.device), len(case.truth)
    number, logits = 0, torch.empty(0)

    def pinned(pipeline: Any, step: int, timestep: int, tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal number, logits
        number, logits = step + 1, tensors["logits"]
        canvas = tensors["canvas"].clone()
        canvas[:, size:] = pins
        return {"canvas": canvas}

    confidence = SAMPLING.confidence if stops else None
    tokens = run(subject, case.context, STEPS, seed, confidence_threshold=confidence, callback_on_step_end=pinned,
                 callback_on_step_end_tensor_inputs=["canvas", "logits"])  # fmt: skip
    if not stops or number == STEPS:  # what was not accepted in the last step is noise in the canvas
        tokens[:, :size] = logits[:, :size].argmax(-1)
    return Filled(tuple(tokens[0].tolist()), number)


def run(subject: Subject, context: Sequence[int], steps: int, seed: int = 0, **more: Any) -> torch.Tensor:
    """Run the pipeline for one canvas; return its tokens `[1, T]`."""
    import diffusers

    pipeline = diffusers.DiffusionGemmaPipeline(
        model=subject.stock,
        scheduler=diffusers.EntropyBoundScheduler(
            entropy_bound=SAMPLING.entropy_bound, t_max=SAMPLING.t_max, t_min=SAMPLING.t_min
        ),
        processor=Given(context),
    )
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator(subject.device).manual_seed(seed)
    with as_the_class_has_it(subject.stock):
        tokens: torch.Tensor = pipeline(
            prompt="",
            gen_length=subject.whole,
            num_inference_steps=steps,
            stability_threshold=SAMPLING.stability,
            eos_early_stop=False,
            output_type="seq",
            generator=generator,
            **more,
        ).sequences
    return tokens


class Given:
    """Stands in for the processor: the context is tokens already."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = ids

    def apply_chat_template(self, messages: Any, **options: Any) -> dict[str, torch.Tensor]:
        """Return the context."""
        return {"input_ids": torch.tensor([self.ids])}


def step_ms(subject: Subject, context: int, runs: int) -> dict[str, float]:
    """Return the milliseconds of a step of a whole canvas with nothing pinned, timed in turns."""
    ids = subject.random_ids(context)
    prefix = PrefixCache(subject.model)
    prefix.encode(ids)
    ways: dict[str, Callable[[int], object]] = {
        "ours": Ours(subject, prefix, 1, subject.whole).run,
        "diffusers": lambda count: run(subject, ids, count, confidence_threshold=None),
    }
    return slopes(ways, subject.device, runs)
