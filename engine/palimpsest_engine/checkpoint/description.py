"""Read what a checkpoint says of itself, and refuse what cannot be. Nothing is loaded for it.

A description is as foreign as the weights beside it. So each value has a rule, and what was read needs no further check.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint.chat_template import LONGEST, turns_of
from palimpsest_engine.checkpoint.locate import read_json
from palimpsest_engine.checkpoint.rules import (
    Rule,
    Unfit,
    checked,
    each,
    flag,
    lines,
    number,
    one_of,
    optional,
    pair,
    table,
    text,
    whole,
)
from palimpsest_engine.checkpoint.spec import SPEC_FILE, Chat, Denoising, Sampling, Spec, spec_of_chat
from palimpsest_engine.errors import CheckpointBroken

_MOST_TOKENS = 1 << 22  # of a context; no model here reads a quarter of it
_MOST_SLOTS = 8_192  # of a canvas
_MOST_STEPS = 8_192
_MOST_ROWS = 256  # of a batch
_ID = whole(0, (1 << 24) - 1)
_SAMPLING: dict[str, Rule] = {
    "max_steps": whole(1, _MOST_STEPS),
    "t_min": number(0, 100),
    "t_max": number(0, 100),
    "entropy_bound": optional(number(0, 1e9)),
    "stability": whole(0, _MOST_STEPS),
    "confidence": number(-1e9, 1e9),
    "threshold": optional(number(0, 1)),
    "linear_to": optional(number(0, 1)),
    "by": one_of("entropy", "probability", "margin"),
    "top_p": number(1e-6, 1),
    "each": optional(whole(1, _MOST_SLOTS)),
    "still": optional(whole(1, _MOST_STEPS)),
    "unsure": optional(number(0, 1e9)),
    "again": whole(0, 16),
}
_CANDIDATES = whole(0, 64)
_STEPS_BY_SIZE = each(pair(whole(1, _MOST_SLOTS), whole(1, _MOST_STEPS)), 0, 1_000)
_DENOISING: dict[str, Rule] = {
    "noise": one_of("uniform", "mask"),
    "context": one_of("causal", "both"),
    **dict.fromkeys(("mask_id", "grow_id", "shrink_id"), optional(_ID)),
    **dict.fromkeys(("shift", "conditioned", "revises", "keeps", "shrinks_rest"), flag),
    **dict.fromkeys(("longest", "block"), optional(whole(1, _MOST_SLOTS))),
}
_CHAT: dict[str, Rule] = {
    "template": one_of("folder", "thought", "plain"),
    "thinking": flag,
    "instruction": optional(lines(1_000)),
    "turns": optional(pair(lines(LONGEST), lines(LONGEST))),
}
_SPEC: dict[str, Rule] = {
    "name": text(200, ".+"),
    "dialect": one_of("fim", "chat", "taught", "sides"),
    "order": one_of("spm", "psm"),
    "edits": one_of("", "chatml", "sweep", "zeta2", "canvas"),
    "fresh": one_of("denoised", "written"),
    **dict.fromkeys(("denoises", "left_to_right"), flag),
    "languages": each(text(40), 0, 500),
    "sources": each(text(40), 0, 50),
    **dict.fromkeys(("filler", "bos_id", "eos_id", "suffix_id", "prefix_id"), optional(_ID)),
    "context": whole(1, _MOST_TOKENS),
    **dict.fromkeys(("suffix", "excerpts", "written", "written_in_line"), whole(0, _MOST_TOKENS)),
    "canvas": whole(1, _MOST_SLOTS),
    "pins": whole(0, _MOST_SLOTS),
    "whole_canvas": flag,
    "hole_sizes": each(whole(1, _MOST_SLOTS), 1, 64),
    "line_sizes": each(whole(1, _MOST_SLOTS), 0, 64),
    "near": each(number(0.01, 100), 0, 16),
    "tries": whole(1, 64),
    "steps_by_size": _STEPS_BY_SIZE,
    "prune": each(pair(whole(0, _MOST_STEPS), whole(1, _MOST_ROWS)), 0, 1_000),
    "length_power": number(-10, 10),
    "written_passes": whole(0, _MOST_STEPS),
    "causal_candidates": _CANDIDATES,
    "blank_line_candidates": optional(_CANDIDATES),
    "sampling": lambda value: Sampling(**checked(value, _SAMPLING)),
    "denoising": lambda value: Denoising(**checked(value, _DENOISING)),
    "chat": lambda value: Chat(**checked(value, _CHAT)),
    "profiles": lambda value: checked(value, dict.fromkeys(("fast", "thorough"), _profile)),
    "sha256": table(text(255, r"[^/\\]+"), text(64, "[0-9a-f]{64}"), 10_000),
}


def read_spec(folder: Path, device: str = "cpu") -> Spec:
    """Read the checkpoint's `palimpsest.json`; without one, it is an instruction-tuned checkpoint.

    In the `chat` dialect, what it does not say is as `spec_of_chat` has it for the device, and its template is rendered.
    Raises CheckpointBroken for a value that cannot be: a wrong kind, out of its range, or at odds with another one, and for
    a broken template.
    """
    spec = _written(folder, device)
    if spec.dialect != "chat":
        return spec
    return replace(spec, chat=replace(spec.chat, turns=turns_of(folder, spec.chat)))


def _written(folder: Path, device: str) -> Spec:
    path = folder / SPEC_FILE
    if not os.path.lexists(path):
        return spec_of_chat(folder.name, device)
    raw = read_json(path)
    try:
        values = checked({"name": None} | raw, _SPEC)
        spec = Spec(**values)
        if spec.dialect == "chat":
            ours: dict[str, Any] = {"line_sizes": ()} if "hole_sizes" in values else {}  # the same for lines
            ours |= {"profiles": {}} if "sampling" in values else {}  # ours are for our own sampling
            spec = replace(spec_of_chat(spec.name, device), **(ours | values))
        _check_together(spec)
    except Unfit as error:
        raise CheckpointBroken(f"{path} is not a checkpoint description this version understands: {error}.") from error
    return spec


def _profile(value: Any) -> dict[str, Any]:
    return checked(value, _SAMPLING | {"steps_by_size": _STEPS_BY_SIZE, "causal_candidates": _CANDIDATES})


def _check_together(spec: Spec) -> None:
    """Raise Unfit for values that contradict each other."""
    sizes, sampling, how = (*spec.hole_sizes, *spec.line_sizes), spec.sampling, spec.denoising
    wrong = {
        "suffix is not smaller than context": spec.suffix >= spec.context,
        "a hole size is larger than canvas": spec.denoises and max(sizes) > spec.canvas,
        "pins is not smaller than canvas": spec.denoises and spec.pins >= spec.canvas,
        f"hole_sizes and tries make more than {_MOST_ROWS} rows": max(len(spec.hole_sizes), len(spec.line_sizes))
        * spec.tries
        > _MOST_ROWS,
        "the dialect fim needs suffix_id and prefix_id": spec.dialect == "fim"
        and None in (spec.suffix_id, spec.prefix_id),
        "t_min is larger than t_max": sampling.t_min > sampling.t_max,
        "noise of masks needs mask_id": how.noise == "mask" and how.mask_id is None,
        "steps_by_size is not in ascending order": list(spec.steps_by_size) != sorted(spec.steps_by_size),
    }
    if found := [sentence for sentence, is_so in wrong.items() if is_so]:
        raise Unfit(found[0])


def check_ids(spec: Spec, vocabulary: int, where: Path) -> None:
    """Raise CheckpointBroken for an id that the model does not have."""
    of_spec = ("filler", "bos_id", "eos_id", "suffix_id", "prefix_id")
    ids = {name: getattr(spec, name) for name in of_spec}
    ids |= {name: getattr(spec.denoising, name) for name in ("mask_id", "grow_id", "shrink_id")}
    for name, found in ids.items():
        if found is not None and not 0 <= found < vocabulary:
            raise CheckpointBroken(
                f"The description of {where} has {found} for {name}, and the model has {vocabulary} ids."
            )
