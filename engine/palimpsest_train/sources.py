"""Fetch packages with their registry's ordinary client and keep them as they came. Opens none, runs none of their code.

Each package is fetched into `.incoming` and moved from there in one step, so that a killed run leaves whole packages only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from palimpsest_engine.checkpoint.header import digest
from palimpsest_train.debian import AptSources
from palimpsest_train.errors import CorpusError
from palimpsest_train.packages import plain_name

PYTHON_ARCHIVE = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*?)(?:-.*)?(?:\.whl|\.tar\.gz|\.zip)$")
NPM_ARCHIVE = re.compile(r".+?-(?P<version>\d[^/]*)\.tgz$")
UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|NameResolution|ProxyError|SSLError|Max retries|timed out|Temporary failure"
    r"|Failed to (resolve|establish)|Could not (resolve|connect)|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT",
    re.IGNORECASE,
)
FULL = re.compile(r"No space left on device|ENOSPC", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fetched:
    """One package as it lies on the disk; the first archive holds the code."""

    name: str
    version: str
    archives: tuple[Path, ...]

    def sha256(self) -> dict[str, str]:
        """Return the SHA-256 of each archive, as hexadecimal, by file name."""
        return {path.name: digest(path) for path in self.archives}


@dataclass(frozen=True, slots=True)
class Fetch:
    """The result of fetching: the packages that are there, and the reason why each other one is not."""

    packages: dict[str, Fetched]
    missing: dict[str, str]


Client = Callable[[str, Path], list[str]]
"""(package, folder to fetch it into) -> command line."""


def fetch(registry: str, names: Iterable[str], folder: Path, versions: Mapping[str, str] | None = None) -> Fetch:
    """Fetch each package of a registry ("pypi", "npm", "debian") that is not under `folder` yet, without dependencies.

    versions: pins, by package. Raises CorpusError where nothing can be reached, the client is not installed or the disk
    is full; what has been fetched stays for the next run.
    """
    versions = versions or {}
    place, there = _PLACES[registry], _THERE[registry]
    folder = folder / place
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [plain_name(name) if registry == "pypi" else name for name in names]
    have = there(folder)
    missing: dict[str, str] = {}
    client: Client | None = None
    for name in wanted:
        version = versions.get(name)
        if name in have and (version is None or have[name].version == version):
            continue
        client = client or _client(registry, folder)
        if reason := _fetch_one(registry, client, _pinned(registry, name, version), name, folder):
            missing[name] = reason
    have = there(folder)
    return Fetch({n: have[n] for n in wanted if n in have and n not in missing}, missing)


def _pinned(registry: str, name: str, version: str | None) -> str:
    return name if version is None else name + {"pypi": "==", "npm": "@", "debian": "="}[registry] + version


def _client(registry: str, folder: Path) -> Client:
    if registry == "debian":
        return AptSources(folder / ".apt", _run).command
    return {"pypi": _pip, "npm": _npm}[registry]


def _pip(requirement: str, into: Path) -> list[str]:
    # Only a client that tries again says that nothing answered; without a retry, pip finds "no matching distribution".
    options = [
        "-q",
        "--retries",
        "2",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "-d",
        str(into),
    ]
    return [sys.executable, "-m", "pip", "download", *options, requirement]


def _npm(requirement: str, into: Path) -> list[str]:
    return ["npm", "pack", "--silent", "--json", "--ignore-scripts", "--pack-destination", str(into), requirement]


def _fetch_one(registry: str, client: Client, requirement: str, name: str, folder: Path) -> str | None:
    """Fetch a package and move it to its place; return the reason why it is not available, or None."""
    incoming = folder / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    said = _run(client(requirement, incoming), name, incoming)
    if said is None and not any(incoming.iterdir()):
        said = "nothing came"
    if said is None and registry == "pypi":
        for path in incoming.iterdir():
            path.replace(folder / path.name)
    elif said is None:
        place = folder / name.replace("/", "+")
        shutil.rmtree(place, ignore_errors=True)
        incoming.replace(place)
    shutil.rmtree(incoming, ignore_errors=True)
    return None if said is None else "not available from the registry"


def _run(command: list[str], name: str, where: Path) -> str | None:
    """Return None if the command succeeded, else its message. Raises CorpusError for what the next package would meet too."""
    try:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=900, check=False)
    except FileNotFoundError as error:
        raise CorpusError(f"{command[0]} is not installed, and {name} is fetched with it") from error
    except subprocess.TimeoutExpired as error:
        raise CorpusError(f"{name} was not fetched within 15 minutes; run again to go on from here") from error
    if not done.returncode:
        return None
    said = done.stdout + done.stderr
    if FULL.search(said):
        raise CorpusError(f"the disk is full while {name} is fetched; make room and run again: what is there is kept")
    if UNREACHABLE.search(said):
        raise CorpusError(f"the registry of {name} does not answer; run again to go on from here")
    return said


def _python(folder: Path) -> dict[str, Fetched]:
    """Return the archives by plain name; of several versions the one written last."""
    found: dict[str, Fetched] = {}
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".gz", ".zip")]
    for archive in sorted(archives, key=lambda path: (path.stat().st_mtime, path.name)):
        if match := PYTHON_ARCHIVE.match(archive.name):
            name = plain_name(match["name"])
            found[name] = Fetched(name, match["version"], (archive,))
    return found


def _folders(folder: Path, suffixes: str, version: re.Pattern[str]) -> dict[str, Fetched]:
    """Return the folders by name, one for each package. The archive with the code, which is the first one the pattern
    knows, comes first."""
    found: dict[str, Fetched] = {}
    for place in folder.iterdir():
        archives = sorted(path for path in place.glob("*") if re.search(suffixes, path.name))
        archives.sort(key=lambda path: version.match(path.name) is None)
        match = version.match(archives[0].name) if archives else None
        if match and not place.name.startswith("."):
            name = place.name.replace("+", "/")
            found[name] = Fetched(name, match["version"], tuple(archives))
    return found


_PLACES = {"pypi": "wheels", "npm": "npm", "debian": "debian"}
_THERE: dict[str, Callable[[Path], dict[str, Fetched]]] = {
    "pypi": _python,
    "npm": partial(_folders, suffixes=r"\.tgz$", version=NPM_ARCHIVE),
    "debian": partial(
        _folders, suffixes=r"\.(orig|debian)\.tar\.\w+$", version=re.compile(r"[^_]+_(?P<version>.+)\.orig\.tar\.\w+$")
    ),
}
