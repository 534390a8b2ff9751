"""Reads `packages.toml`: which packages the corpus is made of, in which groups, under which licence rules."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from palimpsest_train.errors import CorpusError
from palimpsest_train.licences import Rules


@dataclass(frozen=True, slots=True)
class Group:
    """Packages of one kind.

    registry: "pypi", "npm" or "debian". languages: which files are taken. repeat: how often the tokens of a training
    document are written. most_of_one: characters taken of one package. characters: of the whole group; 0 is no limit.
    default: built without being asked for. held_out: packages that are never trained on.
    """

    name: str
    registry: str
    languages: tuple[str, ...]
    packages: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    repeat: int = 1
    most_of_one: int = 6_000_000
    characters: int = 0
    default: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What `packages.toml` says."""

    groups: tuple[Group, ...]
    rules: Rules

    def group(self, name: str) -> Group | None:
        """The group of that name."""
        return next((group for group in self.groups if group.name == name), None)


def read_plan(path: Path | None = None) -> Plan:
    """The plan of a file; the package's own without one. Raises CorpusError where it cannot be read."""
    source = path or resources.files("palimpsest_train").joinpath("packages.toml")
    try:
        table = tomllib.loads(source.read_text("utf-8"))
        groups = tuple(_group(name, values) for name, values in table["group"].items())
        return Plan(groups, Rules(frozenset(table["permissive"]), table["spellings"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"the package list {source} cannot be read: {error}") from error


def _group(name: str, values: dict[str, Any]) -> Group:
    keywords: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Group(name=name, **keywords)


def plain_name(name: str) -> str:
    """A package name as the index compares them: lower case, runs of `-`, `_` and `.` as one `-`."""
    return re.sub(r"[-_.]+", "-", name).lower()
