"""List everything that an installation brings along, with the licences that its metadata declare, and check them.

Reads the environment that it runs in. Writes the table of docs/licences.md; with --check only says if that is out of date.
"""

from __future__ import annotations

import re
import sys
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RULES = PROJECT["tool"]["palimpsest"]["licences"]
OURS = PROJECT["project"]["name"]
# Of the extras, those for users that the development environment has: that of a team is Ray, which brings much along.
EXTRAS = ("api", "bench", "canvas", "llama", "tune")
BEGIN, END = "<!-- licences -->\n", "<!-- /licences -->"
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# CUDA's own libraries, which PyTorch brings along where it is built for CUDA; NVIDIA's terms are theirs alone.
_OF_CUDA = re.compile(r"nvidia-|cuda-|triton$")


@dataclass
class Part:
    """One distribution. needed_by: "" for every installation, and the names of extras."""

    name: str
    metadata: Distribution
    needed_by: set[str] = field(default_factory=set)

    @property
    def licence(self) -> str:
        """Return an SPDX expression, as the metadata declare it, else as pyproject.toml says that the project's files do."""
        said = self.metadata.metadata
        if self.name in RULES["read"]:
            return str(RULES["read"][self.name])
        with suppress(InvalidLicenseExpression):
            declared = next((said[key] for key in ("License-Expression", "License") if key in said), "")
            return canonicalize_license_expression(declared)
        kinds = [
            each.rsplit(" :: ", 1)[-1] for each in said.get_all("Classifier") or [] if each.startswith("License ::")
        ]
        return " AND ".join(_CLASSIFIERS.get(kind, kind) for kind in kinds) or "no licence"


def installed() -> list[Part]:
    """Return all that an installation needs, by name, without CUDA's libraries and without what other systems need."""
    parts: dict[str, Part] = {}
    for extra in ("", *EXTRAS):
        seen: set[tuple[str, str]] = set()
        waiting = [(OURS, extra)]
        while waiting:
            name, wanted = waiting.pop()
            if (name, wanted) in seen or _OF_CUDA.match(name):
                continue
            seen.add((name, wanted))
            try:
                part = parts.setdefault(name, Part(name, distribution(name)))
            except PackageNotFoundError:
                sys.exit(f"{name} is not installed: `make dist` and `make lint` see to that")
            part.needed_by.add(extra)
            for line in part.metadata.requires or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": wanted}):
                    waiting += [(canonicalize_name(needed.name), each) for each in ("", *needed.extras)]
    del parts[canonicalize_name(OURS)]
    return [parts[name] for name in sorted(parts)]


def faults(parts: list[Part]) -> list[str]:
    """Return a sentence for each licence that pyproject.toml does not allow."""
    allowed = set(RULES["allowed"])
    return [
        f"{part.name}: {part.licence} is not among the licences that pyproject.toml allows"
        for part in parts
        if not _is_allowed(part.licence, allowed)
    ]


def _is_allowed(expression: str, allowed: set[str]) -> bool:
    """Take one of those between OR, and all of those between AND; parentheses are not looked at, which is stricter."""
    ways = re.split(r"\s+OR\s+", re.sub(r"[()]", "", expression))
    return any(all(each.strip() in allowed for each in re.split(r"\s+AND\s+", way)) for way in ways)


def table(parts: list[Part]) -> str:
    """Return the table of the page."""
    rows = [
        f"| {part.name} | {part.licence} | {'' if '' in part.needed_by else ', '.join(sorted(part.needed_by))} |"
        for part in parts
    ]
    return "\n".join(["| package | licence | only with the extra |", "|---|---|---|", *rows, ""])


def main() -> None:
    """Write the page, or compare it."""
    parts = installed()
    if wrong := faults(parts):
        sys.exit("\n".join(wrong))
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    new = before + BEGIN + table(parts) + END + rest.split(END)[1]
    if "--check" not in sys.argv:
        PAGE.write_text(new, "utf-8")
    elif new != page:
        sys.exit(f"{PAGE.relative_to(ROOT)} is out of date: `make licences` writes it")


if __name__ == "__main__":
    main()
