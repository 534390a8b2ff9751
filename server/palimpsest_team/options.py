"""The options of a team's service, read once and frozen. Imports neither Ray nor the engine's heavy parts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from palimpsest_engine import EngineSettings, PalimpsestError

APPLICATION = "palimpsest"  # in Ray Serve
NAMESPACE = "palimpsest"


@dataclass(frozen=True, slots=True)
class Replicas:
    """The number of replicas: from `least` to `most`, by the length of the queue."""

    least: int = 1
    most: int = 1

    @classmethod
    def parse(cls, text: str) -> Replicas:
        """Read `N` or `MIN:MAX`."""
        found = re.fullmatch(r"([1-9]\d{0,3})(?::([1-9]\d{0,3}))?", text, re.ASCII)
        if found is None or int(found[2] or found[1]) < int(found[1]):
            raise PalimpsestError(f"The number of replicas is N or MIN:MAX, such as 2 or 1:8, not {text!r}.")
        return cls(int(found[1]), int(found[2] or found[1]))


@dataclass(frozen=True, slots=True)
class Deployed:
    """The service in the cluster: its engines, and their bounds.

    settings: of each replica's engine. gpus, cpus: what a replica reserves. at_once: requests that a replica takes, in whose
    queue users take turns; the next one goes elsewhere. target: requests a replica, those that wait included, that
    autoscaling aims at. drain_seconds: how long a replica that is to go may finish its fills. silence_seconds: how long a
    fill may show no sign of life before the replica counts as hung. script, steps, step_seconds: of a scripted engine, for
    measuring everything but the model.
    """

    settings: EngineSettings = field(default_factory=EngineSettings)
    replicas: Replicas = field(default_factory=Replicas)
    gpus: float = 0.0
    cpus: float = 1.0
    at_once: int = 256
    target: float = 4.0
    drain_seconds: float = 60.0
    silence_seconds: float = 120.0
    health_seconds: float = 5.0
    upscale_seconds: float = 10.0
    downscale_seconds: float = 300.0
    script: str | None = None
    steps: int = 0
    step_seconds: float = 0.0


def deployed_of(values: dict[str, Any]) -> Deployed:
    """Read what a RayService's manifest says. Raises PalimpsestError."""
    try:
        return msgspec.convert(values, Deployed)
    except msgspec.ValidationError as error:
        raise PalimpsestError(f"The application's arguments cannot be used: {error}") from None
