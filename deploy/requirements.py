"""Print what the package depends on, a line each, with the extras that are named: `requirements.py PYPROJECT [EXTRA ...]`.

An image installs these in a layer of their own, below the package, so a change of our code changes 38 MB of it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extras: list[str]) -> Iterator[str]:
    """Yield the dependencies, then those of each extra; an extra that names others of the package has theirs, too."""
    yield from project["dependencies"]
    for extra in extras:
        yield from _of(project, extra)


def _of(project: dict[str, Any], extra: str) -> Iterator[str]:
    for each in project["optional-dependencies"][extra]:
        if ours := re.fullmatch(rf"{re.escape(project['name'])}\[(.+)\]", each):
            for name in ours[1].split(","):
                yield from _of(project, name.strip())
        else:
            yield each


if __name__ == "__main__":
    pyproject, *named = sys.argv[1:]
    print(*requirements(tomllib.loads(Path(pyproject).read_text("utf-8"))["project"], named), sep="\n")
