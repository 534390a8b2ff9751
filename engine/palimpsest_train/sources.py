"""Fetches packages with their registry's ordinary client and keeps them as they came; opens none, installs none."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from palimpsest_train.errors import CorpusError
from palimpsest_train.packages import plain_name

ARCHIVE = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*?)(?:-.*)?(?:\.whl|\.tar\.gz|\.zip)$")
UNREACHABLE = re.compile(r"NewConnectionError|ConnectionError|Max retries|timed out|Temporary failure|SSLError", re.I)
FULL = re.compile(r"No space left on device|ENOSPC", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fetched:
    """One package as it lies on the disk."""

    name: str
    version: str
    archive: Path

    @property
    def sha256(self) -> str:
        """Of the archive, as hexadecimal."""
        return hashlib.sha256(self.archive.read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Fetch:
    """What came of fetching: the packages that are there, and why each other one is not."""

    packages: dict[str, Fetched]
    missing: dict[str, str]


def fetched(folder: Path) -> dict[str, Fetched]:
    """The Python packages that already lie in the folder, by plain name; of several versions the last one written."""
    found: dict[str, Fetched] = {}
    archives = [path for path in folder.glob("*") if path.suffix in (".whl", ".gz", ".zip")]
    for archive in sorted(archives, key=lambda path: (path.stat().st_mtime, path.name)):
        if match := ARCHIVE.match(archive.name):
            name = plain_name(match["name"])
            found[name] = Fetched(name, match["version"], archive)
    return found


def fetch_wheels(names: Iterable[str], folder: Path) -> Fetch:
    """Download the wheel of each package that is not there yet, without dependencies, with pip.

    Raises CorpusError where nothing can be reached or the disk is full; what has been fetched stays for the next run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [plain_name(name) for name in names]
    there = fetched(folder)
    missing: dict[str, str] = {}
    for name in wanted:
        if name not in there:
            _run_pip(name, folder, missing)
    there = fetched(folder)
    return Fetch({name: there[name] for name in wanted if name in there}, missing)


def _run_pip(name: str, folder: Path, missing: dict[str, str]) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(folder),
        name,
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if said.returncode:
        if FULL.search(said.stderr):
            raise CorpusError(f"the disk is full: make room in {folder} and run again; what was fetched is kept")
        if UNREACHABLE.search(said.stderr):
            raise CorpusError(
                f"{name} cannot be fetched: the package index does not answer; run again to go on from here"
            )
        missing[name] = "no wheel to be had"
