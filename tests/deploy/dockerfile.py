"""Read a Dockerfile: its stages, with the instructions of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass
class Stage:
    """source: the image or the stage that it begins with. steps: (instruction, value), without the FROM."""

    name: str
    source: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, instruction: str) -> list[str]:
        """Return the values of an instruction."""
        return [value for name, value in self.steps if name == instruction]


def stages() -> tuple[dict[str, str], dict[str, Stage]]:
    """Return the arguments before the first stage, and the stages in order."""
    arguments: dict[str, str] = {}
    found: dict[str, Stage] = {}
    for step in DockerfileParser(path=str(DOCKERFILE)).structure:
        instruction, value = step["instruction"], step["value"]
        if instruction == "COMMENT":
            continue
        if instruction == "FROM":
            source, _, name = value.partition(" AS ")
            found[name] = Stage(name, source)
        elif found:
            list(found.values())[-1].steps.append((instruction, value))
        else:
            name, _, default = value.partition("=")
            arguments[name] = default
    return arguments, found


def inherited(found: dict[str, Stage], name: str) -> Iterator[tuple[str, str]]:
    """Yield the steps of a stage and of all below it, the lowest first."""
    stage = found[name]
    if stage.source in found:
        yield from inherited(found, stage.source)
    yield from stage.steps


def words(value: str) -> list[str]:
    """Return the words of an instruction in its JSON form."""
    parsed = json.loads(value)
    assert isinstance(parsed, list)
    return parsed
