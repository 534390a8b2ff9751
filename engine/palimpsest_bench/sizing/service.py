"""Reads how long an engine takes for a fill: a distribution, measured or assumed, in a JSON file."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from palimpsest_engine.errors import DataError, DocumentMissing


@dataclass(frozen=True, slots=True)
class Service:
    """The time of a fill.

    fill_ms: samples for a document that the engine has read before; each is as likely as any other. step_ms: a fill that is
    cancelled ends with its step. cold_ms: more, for a document whose prefix is not kept. documents: so many prefixes are
    kept, those of the documents that were used last. model, machine: what it is about. measured, assumed: what of it is
    which, in sentences.
    """

    model: str
    machine: str
    measured: str
    assumed: str
    fill_ms: tuple[float, ...]
    step_ms: float
    cold_ms: float = 0.0
    documents: int = 16

    @property
    def name(self) -> str:
        """Return the model and the machine in words."""
        return f"{self.model}, {self.machine}"

    @property
    def mean(self) -> float:
        """Return the mean of a fill in seconds, where the prefix is kept."""
        return sum(self.fill_ms) / len(self.fill_ms) / 1000

    def drawer(self, random: Random) -> Callable[[], float]:
        """Return a function that draws the seconds of a fill."""
        seconds = [each / 1000 for each in self.fill_ms]
        return lambda: random.choice(seconds)

    def until_free(self, passed: float) -> float:
        """Return the seconds that a fill goes on for, so long after its begin, once it is cancelled."""
        step = self.step_ms / 1000
        return step - passed % step if step else 0.0


def known() -> dict[str, Service]:
    """Read the service times that come with the package, by name."""
    folder = importlib.resources.files(__package__).joinpath("services")
    return {Path(each.name).stem: _service(json.loads(each.read_text("utf-8")), each.name) for each in folder.iterdir()}


def read(name: str) -> Service:
    """Read service times of the package, or of a file. Raises DocumentMissing, or DataError with what is wrong."""
    if found := known().get(name):
        return found
    try:
        given = json.loads(Path(name).read_text("utf-8"))
    except OSError as error:
        there = ", ".join(sorted(known()))
        raise DocumentMissing(f"there are no service times called {name} ({there}), and no such file") from error
    except ValueError as error:
        raise DataError(f"{name} is not JSON: {error}") from error
    return _service(given, name)


def _service(given: Any, source: str) -> Service:
    """Check service times. Raises DataError with a sentence."""
    if not isinstance(given, dict):
        raise DataError(f"{source} is no object of service times")
    texts = {key: given.get(key, "") for key in ("model", "machine", "measured", "assumed")}
    fills = given.get("fill_ms")
    numbers = {"step_ms": given.get("step_ms"), "cold_ms": given.get("cold_ms", 0.0)}
    documents = given.get("documents", 16)
    if unknown := given.keys() - texts.keys() - numbers.keys() - {"fill_ms", "documents"}:
        raise DataError(f"{source} has keys that no service times have: {', '.join(sorted(unknown))}")
    if not all(isinstance(each, str) for each in texts.values()):
        raise DataError(f"{source}: model, machine, measured and assumed are texts")
    if not isinstance(fills, list) or not fills or not all(_positive(each) for each in fills):
        raise DataError(f"{source}: fill_ms is a list of milliseconds, each more than 0")
    if not all(isinstance(each, int | float) and 0 <= each < float("inf") for each in numbers.values()):
        raise DataError(f"{source}: step_ms and cold_ms are milliseconds")
    if not isinstance(documents, int) or documents < 1:
        raise DataError(f"{source}: documents is a whole number from 1 on")
    return Service(**texts, fill_ms=tuple(fills), documents=documents, **numbers)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
