"""The sets of libraries that the tests run with hold a version of every dependency, within the range of `pyproject.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DEPENDENCIES = [
    Requirement(line)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in group
    if not line.startswith(PROJECT["name"])  # an extra that has another one in it
]


@pytest.mark.parametrize("name", ["oldest", "newest"])
def test_every_dependency_is_pinned_within_its_range(name: str) -> None:
    lines = (ROOT / "constraints" / f"{name}.txt").read_text("utf-8").splitlines()
    pins: dict[str, list[str]] = {}
    for pin in map(Requirement, filter(None, lines)):
        pins.setdefault(pin.name, []).extend(each.version for each in pin.specifier)
    wrong = [str(each) for each in DEPENDENCIES if not any(each.specifier.contains(v) for v in pins.get(each.name, []))]
    assert wrong == [], "`make constraints` resolves them anew"
