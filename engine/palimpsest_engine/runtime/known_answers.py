"""Hold the known answers of published checkpoints: the logits of each at a fixed prompt and canvas. Knows no tensors.

The answers are data of the package (`answers/*.json`), each with its source. `verify.py` compares a loaded model with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "answers"
Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The distance that an answer may have in one number format, or has.

    correlation: at the least, over all numbers. agreement: at the least, the share of positions at which the same token is
    the likeliest. largest: the largest difference of two logits. deviation: root of the mean square of the differences,
    over that of the known numbers' distance from their mean.
    """

    correlation: float
    agreement: float
    largest: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The logits `[positions, ids]` of the first positions of a canvas, after the first so many layers; None for all.

    step: 1, or 2 for a step on the same canvas that is told the probabilities of the first one. ids: the tokens whose logits
    these are. quantised: the same with experts in a format, as far as they are known; quantising is exact, so these are much
    nearer. tolerances: by number format.
    """

    layers: int | None
    step: int
    ids: tuple[int, ...]
    logits: Rows
    quantised: Mapping[str, Rows]
    tolerances: Mapping[str, Tolerance]

    def known_in(self, number_format: str) -> Rows:
        """Return the logits to compare those of a number format with."""
        return self.quantised.get(number_format, self.logits)

    @property
    def name(self) -> str:
        """Name the part of the model that is compared."""
        part = "all layers" if self.layers is None else f"{self.layers} layers"
        return part if self.step == 1 else "next step"


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """The answers of one published checkpoint, and its prompt.

    source: who published or recorded the numbers, and when. config: entries by which a config is recognised, nested as
    there. label: the name in its `palimpsest.json`, by which it is recognised, too; None for any. prompt: pieces,
    (whether it is a control token, text). prompt_ids: their ids. canvas: its length; its tokens are 0, 1, 2 and so on.
    """

    name: str
    source: str
    config: Mapping[str, Any]
    label: str | None
    prompt: tuple[tuple[bool, str], ...]
    prompt_ids: tuple[int, ...]
    canvas: int
    answers: tuple[Answer, ...]

    def is_of(self, config: Mapping[str, Any], label: str | None) -> bool:
        """Return whether these answers are meant for a checkpoint with this config and this name of its own.

        The number of layers and other values that a damaged copy may have wrong take no part: such a copy has to be found.
        """
        return self.label in (None, label) and _has(config, self.config)


def _has(config: Any, wanted: Mapping[str, Any]) -> bool:
    if not isinstance(config, Mapping):
        return False
    return all(
        _has(config.get(key), value) if isinstance(value, Mapping) else config.get(key) == value
        for key, value in wanted.items()
    )


def all_known() -> tuple[KnownAnswers, ...]:
    """Return the known answers that come with the package."""
    return tuple(read(json.loads(path.read_text("utf-8"))) for path in sorted(FOLDER.glob("*.json")))


def read(raw: Mapping[str, Any]) -> KnownAnswers:
    """Return known answers from what a file says. The file is ours, so nothing is checked."""
    return KnownAnswers(
        raw["name"],
        raw["source"],
        raw["config"],
        raw["label"],
        tuple((piece["control"], piece["text"]) for piece in raw["prompt"]),
        tuple(raw["prompt_ids"]),
        raw["canvas"],
        tuple(
            Answer(
                each["layers"],
                each["step"],
                tuple(each["ids"]),
                tuple(map(tuple, each["logits"])),
                {name: tuple(map(tuple, rows)) for name, rows in each["quantised"].items()},
                {name: Tolerance(**bounds) for name, bounds in each["tolerances"].items()},
            )
            for each in raw["answers"]
        ),
    )
