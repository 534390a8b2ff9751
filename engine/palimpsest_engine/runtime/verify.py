"""Verify that the model which was loaded is the published one: the same token ids, and the same logits at a known prompt.

Bits are not compared: machines and number formats differ in theirs. Imports torch inside functions only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.errors import NoKnownAnswer, OutOfMemory, PalimpsestError
from palimpsest_engine.runtime.known_answers import Answer, KnownAnswers, Rows, Tolerance, all_known

EIGHT_BITS = "float32-int8"  # the format of layers that multiply in eight bits
_COARSE = ("int8", "fp8", "int4")  # the coarsest last; all others are finer
_TIE = 0.5  # logits; two tokens closer than that are both the likeliest
_UNLIKE = 1  # the exit code of a model that is not the published one


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the result. found: a sentence. figures: its numbers, and those allowed. exit_code: 0 if all is well."""

    name: str
    status: Literal["ok", "error"]
    found: str
    advice: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 0


def verify(settings: EngineSettings, known: Sequence[KnownAnswers] | None = None) -> Iterator[Finding]:
    """Yield what is found, each as soon as it is known. known: answers to compare with, in place of those of the package.

    Raises no error that a user can cause.
    """
    from palimpsest_engine.model.device_errors import outage

    try:
        yield from _verify(settings, all_known() if known is None else known)
    except Exception as error:
        why = error if isinstance(error, PalimpsestError) else outage(error, "while it was verified", settings.device)
        if why is None:
            raise
        yield Finding("checkpoint", "error", str(why), exit_code=why.exit_code)


def _verify(settings: EngineSettings, known: Sequence[KnownAnswers]) -> Iterator[Finding]:
    from palimpsest_engine.checkpoint.load import load
    from palimpsest_engine.checkpoint.locate import locate
    from palimpsest_engine.checkpoint.source import coarsest_in
    from palimpsest_engine.model.forward import first_layers

    folder = locate(settings.checkpoint)
    answers = answers_for(folder, known)
    if answers is None:
        yield from _no_answer(folder)
        return
    yield Finding("model", "ok", f"{folder} is compared with {answers.name}: {answers.source}")
    layers, room = _room(settings, answers)
    yield room
    checkpoint = load(settings, layers=layers)
    yield check_tokens(checkpoint.tokenizer, answers)
    number_format = coarser(format_of(checkpoint), coarsest_in(folder))
    for answer in answers.answers:
        if layers is None or answer.layers == layers:
            with first_layers(checkpoint.model, answer.layers):
                logits = logits_at(checkpoint.model, answers, answer)
            yield check_logits(answer, logits, number_format, checkpoint.number_format)


def answers_for(folder: Path, known: Sequence[KnownAnswers]) -> KnownAnswers | None:
    """Return the answers that are meant for a checkpoint, or None. Raises CheckpointBroken."""
    from palimpsest_engine.checkpoint.description import read_spec
    from palimpsest_engine.checkpoint.load_causal import is_causal
    from palimpsest_engine.checkpoint.locate import read_json
    from palimpsest_engine.checkpoint.spec import SPEC_FILE

    if folder.is_file():
        if is_causal(folder):
            return None
        from palimpsest_engine.checkpoint.gguf.diffusion import open_gguf

        return next((each for each in known if each.is_of(open_gguf(folder).config(), None)), None)
    config = read_json(folder / "config.json")
    label = read_spec(folder).name if (folder / SPEC_FILE).exists() else None
    return next((each for each in known if each.is_of(config, label)), None)


def _no_answer(folder: Path) -> Iterator[Finding]:
    """Yield the SHA-256 of each file of weights, and the sentence that there is nothing to compare with."""
    from palimpsest_engine.checkpoint.header import digest
    from palimpsest_engine.checkpoint.locate import weight_files

    for path in [folder] if folder.is_file() else weight_files(folder):
        sha256 = digest(path)
        figures = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256}
        yield Finding("weights", "ok", f"{sha256}  {path.name}", figures=figures)
    yield Finding(
        "model",
        "error",
        f"there is no published answer for {folder}: it cannot be said whether its weights are the published ones",
        "compare the SHA-256 of its files with those that its publisher names",
        exit_code=NoKnownAnswer.exit_code,
    )


def _room(settings: EngineSettings, answers: KnownAnswers) -> tuple[int | None, Finding]:
    """Return how many layers are to be loaded, None for all: as many as fit of those with an answer. Raises OutOfMemory."""
    from palimpsest_engine.checkpoint.loaded import choose
    from palimpsest_engine.checkpoint.locate import locate
    from palimpsest_engine.checkpoint.memory import check_memory, first_layers_of, gib, needed, room_on
    from palimpsest_engine.checkpoint.source import fill_in, shapes_in, spec_in

    folder = locate(settings.checkpoint)
    whole, spec = shapes_in(folder), spec_in(folder)
    device, dtype = choose(settings)
    place, free = room_on(device)
    short: OutOfMemory | None = None
    for layers in sorted({each.layers for each in answers.answers}, key=lambda count: -(count or 1 << 30)):
        shapes = first_layers_of(whole, layers)
        fill = fill_in(folder, shapes, dtype, spec)
        takes = needed(shapes, dtype, settings.quantization, fill)
        try:
            check_memory(shapes, device, dtype, settings.quantization, fill)
        except OutOfMemory as error:
            short = error
            continue
        part = "all layers" if layers is None else f"the first {layers} layers"
        found = f"{part}: {gib(takes)} of {gib(free)} free {place.removeprefix('of ')}"
        return layers, Finding("memory", "ok", found, figures={"layers": layers, "needed": takes, "free": free})
    assert short is not None
    raise OutOfMemory(f"Not even the part that has a published answer fits. {short}")


def check_tokens(tokenizer: Any, answers: KnownAnswers) -> Finding:
    """Compare the ids of the known prompt with those that a tokenizer gives."""
    ids = list[int | None]()
    for control, text in answers.prompt:
        ids += [tokenizer.token_to_id(text)] if control else tokenizer.encode(text, add_special_tokens=False).ids
    right = sum(ours == theirs for ours, theirs in zip(ids, answers.prompt_ids, strict=False))
    figures = {"right": right, "known": len(answers.prompt_ids), "given": len(ids)}
    found = f"{right} of {len(answers.prompt_ids)} ids of the known prompt"
    if ids == list(answers.prompt_ids):
        return Finding("tokens", "ok", found, figures=figures)
    if len(ids) != len(answers.prompt_ids):
        found += f", which has {len(ids)} tokens here"
    return Finding("tokens", "error", found, "fetch tokenizer.json anew: it is another one", figures, _UNLIKE)


def format_of(checkpoint: Any) -> str:
    """Return the name by which tolerances know the number format of a checkpoint."""
    if checkpoint.quantization != "none":
        return str(checkpoint.quantization)
    return EIGHT_BITS if checkpoint.int8 else str(checkpoint.dtype)


def coarser(kept: str, stored: str) -> str:
    """Return the coarser of two formats: the one in which weights are kept, and the one in which the files have them."""
    return max(kept, stored, key=lambda each: _COARSE.index(each) if each in _COARSE else -1)


def logits_at(model: Any, answers: KnownAnswers, answer: Answer) -> Rows:
    """Return the logits that an answer has, of this model. A first step is told nothing of one before."""
    import torch

    from palimpsest_engine.model.forward import canvas_head, decode, encode, head
    from palimpsest_engine.model.kv_cache import RollbackCache

    device = canvas_head(model).weight.device
    cache = RollbackCache.for_config(model.config.get_text_config())
    encode(model, cache, torch.tensor([answers.prompt_ids], device=device))
    canvas = torch.arange(answers.canvas, device=device).unsqueeze(0)
    where = torch.arange(answers.canvas, device=device)
    hidden = decode(model, cache, canvas, where, None)
    with torch.inference_mode():
        if answer.step == 2:
            hidden = decode(model, cache, canvas, where, head(model, hidden[0]).softmax(-1))
        logits = head(model, hidden[0, : len(answer.logits)])[:, list(answer.ids)]
    return tuple(map(tuple, logits.float().cpu().tolist()))


def compare(ours: Rows, known: Rows) -> Tolerance:
    """Return how far logits are from the known ones. Where a logit is no number, they are as far as can be."""
    import numpy as np

    a, b = np.array(ours), np.array(known)
    if not np.isfinite(a).all():
        return Tolerance(0.0, 0.0, float("inf"), float("inf"))
    off = np.abs(a - b)
    likeliest = np.take_along_axis(b, a.argmax(-1)[:, None], -1)[:, 0]
    spread = max(float(b.std()), 1e-9)
    alike = float(((a - a.mean()) * (b - b.mean())).mean()) / max(float(a.std()) * spread, 1e-9)
    return Tolerance(
        alike,
        float((likeliest >= b.max(-1) - _TIE).mean()),
        float(off.max()),
        float(np.sqrt((off**2).mean())) / spread,
    )


def within(found: Tolerance, allowed: Tolerance) -> bool:
    """Return whether an answer is as near as it has to be, in each of the four numbers."""
    return (
        found.correlation >= allowed.correlation
        and found.agreement >= allowed.agreement
        and found.largest <= allowed.largest
        and found.deviation <= allowed.deviation
    )


def check_logits(answer: Answer, logits: Rows, number_format: str, shown: str) -> Finding:
    """Compare logits with the known ones, as the number format allows."""
    found, allowed = compare(logits, answer.known_in(number_format)), answer.tolerances[number_format]
    positions = len(answer.logits)
    text = (
        f"{shown}: correlation {found.correlation:.4f} (at least {allowed.correlation:.4f}), "
        f"likeliest token {found.agreement * positions:.0f} of {positions} "
        f"(at least {math.ceil(allowed.agreement * positions - 1e-9)}), "
        f"largest difference {found.largest:.2f} (at most {allowed.largest:.2f}), "
        f"deviation {found.deviation:.2%} (at most {allowed.deviation:.2%})"
    )
    figures = {"format": number_format, **dataclasses.asdict(found), "allowed": dataclasses.asdict(allowed)}
    if within(found, allowed):
        return Finding(answer.name, "ok", text, figures=figures)
    advice = "this is not the published model: fetch its files anew, or look for what has changed its config"
    return Finding(answer.name, "error", text, advice, figures, _UNLIKE)
