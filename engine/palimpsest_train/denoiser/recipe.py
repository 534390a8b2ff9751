"""The recipe of a denoiser's training. Knows nothing of torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from palimpsest_train.errors import TrainingError

SIZES = (4, 8, 16, 32, 64)
Noise = Literal["mask", "uniform"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run but its length.

    context, canvas: positions of a row's context and of its canvases together. rows: a step; of these `at_once` go through
    the model together, as many as fit the memory. suffix: most tokens of it in the context. pins: fewest and most tokens of
    it in a canvas. filler_weight: of all filler of a hole together, in tokens. distil: share of the frozen base's own
    prediction in the target at full noise; it falls with the noise, since at little noise the canvas knows more than the
    base does, which sees nothing to the right of a token but the suffix. grow: share of the run over which holes grow from
    4 tokens to 64.
    """

    rank: int = 32
    alpha: float = 64.0
    noise: Noise = "mask"
    rows: int = 48
    at_once: int = 48
    context: int = 448
    canvas: int = 384
    suffix: int = 128
    pins: tuple[int, int] = (8, 16)
    learning_rate: float = 5e-4
    row_rate: float = 3e-4
    warmup: float = 0.04
    cooldown: float = 0.25
    clip: float = 1.0
    weight_decay: float = 0.0
    filler_weight: float = 1.0
    distil: float = 0.5
    grow: float = 0.12
    seed: int = 20261127

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise TrainingError(f"The noise is {self.noise!r}; it can be {' or '.join(get_args(Noise))}.")
        if self.context % 8 or self.canvas % 8:
            raise TrainingError("context and canvas have to be multiples of 8, as fused attention wants its bias.")
        if self.canvas < SIZES[-1] + 1 + self.pins[1] or self.context < self.suffix + SIZES[-1] + 32:
            raise TrainingError(
                f"A canvas of {self.canvas} and a context of {self.context} are too short for the holes."
            )
        if self.rows % self.at_once:
            raise TrainingError(f"{self.rows} rows a step cannot go through the model {self.at_once} at once.")


SMOKE = Recipe(rank=4, alpha=8.0, rows=4, at_once=2, context=256, canvas=160, suffix=64)


def changed(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """Return the recipe with changes such as `rank=64`. Raises TrainingError for a key or value that does not fit."""
    kinds = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or key not in kinds:
            raise TrainingError(f"{change} changes nothing; write KEY=VALUE with a key of {', '.join(kinds)}.")
        try:
            values[key] = tuple(map(int, value.split(","))) if kinds[key] is tuple else kinds[key](value)
        except ValueError:
            raise TrainingError(f"{key} is a {kinds[key].__name__}, and {value!r} is none.") from None
    return replace(recipe, **values)


def share_of_rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate's factor at a share of the run: it rises, stays, and falls to zero."""
    if progress < recipe.warmup:
        return max(progress / recipe.warmup, 0.02)
    if progress > 1 - recipe.cooldown:
        return max((1 - progress) / recipe.cooldown, 0.0)
    return 1.0


def longest_hole(recipe: Recipe, progress: float) -> int:
    """Return the longest hole at a share of the run: 4 tokens at first, doubled step by step."""
    if not recipe.grow:
        return SIZES[-1]
    return SIZES[min(int(progress / recipe.grow * (len(SIZES) - 1)), len(SIZES) - 1)]
