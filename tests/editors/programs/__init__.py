"""Programs that the tests drive, fetched once into a cache. Each module here has one, and a function `get` for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


class Unavailable(Exception):
    """A program is not available here; the message says why, as the end of a sentence that begins with "because"."""


def default_cache() -> Path:
    """Return the folder that keeps programs between runs: PALIMPSEST_EDITORS, or one in the user's cache."""
    if chosen := os.environ.get("PALIMPSEST_EDITORS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palimpsest" / "editors"


def cached(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache; made by `build` if it is not there, and there only once it is complete.

    name: with the version in it. build: fills the empty folder it is given, or raises. Two runs at once wait for
    each other.
    """
    done = cache / name
    if done.is_dir():
        return done
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if done.is_dir():
            return done
        being_made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache))
        try:
            build(being_made)
            being_made.rename(done)
        except BaseException:
            shutil.rmtree(being_made, ignore_errors=True)
            raise
    return done


def apt_install(what: str, *packages: str) -> None:
    """Install Debian packages, where that is ours to do: as root. what: is missing without them, in words."""
    command = f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(packages)}"
    if os.geteuid() or not shutil.which("apt-get"):
        raise Unavailable(f"{what}; on Debian: {command}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)
    if run.returncode:
        raise Unavailable(f"{what}, and `{command}` failed: {run.stderr.strip()[-300:]}")
