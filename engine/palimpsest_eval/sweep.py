"""A grid of sampling settings, each a system of its own. Knows checkpoints' settings; fills nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

from palimpsest_engine.checkpoint.chat_template import turns_of
from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.checkpoint.spec import Chat, Sampling, Spec
from palimpsest_engine.errors import DataError
from palimpsest_engine.fill.filler import Filler
from palimpsest_eval.systems import Filled, System

SAMPLING = tuple(field.name for field in fields(Sampling))
NUMBERS = ("pins", "suffix", "tries", "length_power", "causal_candidates", "fresh")
SIZES = ("hole_sizes", "line_sizes")
WHOLE_CANVAS, NEAR = "whole_canvas", "near"
PAIRS = ("steps_by_size", "prune")
CHAT = ("template", "thinking")
KEYS = (*SAMPLING, *NUMBERS, *SIZES, NEAR, WHOLE_CANVAS, *PAIRS, *CHAT, "candidates")


def grid(changes: Sequence[str]) -> list[dict[str, str]]:
    """Return every combination of `KEY=VALUE[,VALUE...]`; without any, one empty combination. Raises DataError."""
    axes: list[list[tuple[str, str]]] = []
    for change in changes:
        key, equals, values = change.partition("=")
        if key not in KEYS or not equals or not all(values.split(",")):
            raise DataError(f"{change} is not KEY=VALUE[,VALUE...] with a key of {', '.join(KEYS)}")
        axes.append([(key, value) for value in values.split(",")])
    return [dict(point) for point in itertools.product(*axes)]


def varied(checkpoint: Checkpoint, point: dict[str, str]) -> System:
    """Return the engine with these settings in place of the checkpoint's own. Raises DataError."""
    spec, candidates = checkpoint.spec, 1
    for key, value in point.items():
        try:
            if key == "candidates":
                candidates = _positive(value)
            elif key in CHAT:
                chat = _chat(spec.chat, key, value)
                spec = replace(spec, chat=replace(chat, turns=turns_of(checkpoint.folder, chat)))
            elif key in SAMPLING:
                setting: dict[str, Any] = {key: _sampling(key, value)}
                spec = replace(spec, sampling=replace(spec.sampling, **setting))
                if key == "max_steps" and "steps_by_size" not in point:
                    spec = replace(spec, steps_by_size=())  # as many for every size
            else:
                spec = replace(spec, **{key: _parsed(spec, key, value)})
                if key == "causal_candidates":
                    spec = replace(spec, blank_line_candidates=None)  # as many everywhere
        except ValueError as error:
            raise DataError(f"{key} cannot be {value}") from error
    name = ", ".join(f"{key} {value}" for key, value in point.items()) or "as it is"
    return Filled(name, Filler(replace(checkpoint, spec=spec)), candidates=candidates)


def _parsed(spec: Spec, key: str, value: str) -> Any:
    """Parse a value of the grid.

    Pairs are `prune=none` or `prune=3:2+5:1` (two rows after step 3, one after step 5) and `steps_by_size=8:4`; sizes are
    `hole_sizes=4+8`, `near` is `none` or factors, `1+0.75`; `whole_canvas` is `true` or `false`; `fresh` is `denoised` or
    `written`; all others are numbers.
    """
    if key in PAIRS:
        pairs = [] if value == "none" else [pair.split(":") for pair in value.split("+")]
        return tuple((_positive(one), _positive(other)) for one, other in pairs)
    if key in SIZES:
        return tuple(sorted(_positive(size) for size in value.split("+")))
    if key == NEAR:
        return () if value == "none" else tuple(float(factor) for factor in value.split("+"))
    if key == WHOLE_CANVAS:
        return _flag(value)
    if key == "fresh" and value not in ("denoised", "written"):
        raise ValueError(value)
    return type(getattr(spec, key))(value)


def _chat(chat: Chat, key: str, value: str) -> Chat:
    """Return another way to ask in the `chat` dialect; its turns are to be made anew."""
    if key == "template" and value not in get_args(get_type_hints(Chat)["template"]):
        raise ValueError(value)
    setting: dict[str, Any] = {key: value if key == "template" else _flag(value)}
    return replace(chat, turns=None, **setting)


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(value)
    return value == "true"


def _sampling(key: str, value: str) -> Any:
    """Parse a setting of the sampling: `none` where a rule can be left out."""
    if key == "by":
        if value not in get_args(get_type_hints(Sampling)["by"]):
            raise ValueError(value)
        return value
    if value == "none" and key in ("entropy_bound", "threshold", "linear_to", "each", "still", "unsure"):
        return None
    if key in ("max_steps", "each", "still"):
        return _positive(value)
    return int(value) if key in ("stability", "again") else float(value)


def _positive(value: str) -> int:
    number = int(value)
    if number < 1:
        raise ValueError(f"{number} is not positive")
    return number
