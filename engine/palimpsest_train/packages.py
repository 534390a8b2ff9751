"""Read `packages.toml`: which packages the corpus is made of, in which groups, under which licence rules."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    """The contents of `packages.toml`."""

    groups: tuple[Group, ...]
    rules: Rules

    def known(self, values: Mapping[str, int]) -> Mapping[str, int]:
        """Return the values, by group, as they are. Raises CorpusError for a name that is no group's."""
        names = [group.name for group in self.groups]
        if unknown := [name for name in values if name not in names]:
            raise CorpusError(f"there is no group {unknown[0]!r}; there are {', '.join(names)}")
        return values

    def choose(self, further: Sequence[str], characters: Mapping[str, int]) -> Plan:
        """Return the plan with its default groups and the further ones named (or "all"), and other limits of characters."""
        self.known({name: 0 for name in further if name != "all"} | dict(characters))
        groups = (group for group in self.groups if group.default or group.name in further or "all" in further)
        limited = (replace(g, characters=characters.get(g.name, g.characters)) for g in groups)
        return Plan(tuple(limited), self.rules)


def read_plan(path: Path | None = None) -> Plan:
    """Read the plan of a file; the package's own without one. Raises CorpusError where it cannot be read."""
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
    """Return a package name as the index compares them: lower case, runs of `-`, `_` and `.` as one `-`."""
    return re.sub(r"[-_.]+", "-", name).lower()
