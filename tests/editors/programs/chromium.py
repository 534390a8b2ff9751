"""Chromium, in which VS Code's workbench is shown: the system's own; Playwright's would need another server's files."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from editors.programs import Unavailable, cached

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = "apt-get update && apt-get install --yes --no-install-recommends chromium"


@dataclass(frozen=True)
class Chromium:
    """executable: the program, to be given to Playwright."""

    executable: Path


def get(cache: Path) -> Chromium:
    """The one on the path. If there is none, Debian's is installed where that is allowed to us: as root, in a container."""
    if (found := _on_path()) is None and _may_install():
        cached(cache, "chromium-installed", _install)
        found = _on_path()
    if found is None:
        raise Unavailable(f"no chromium is on the path; on Debian: {INSTALL}")
    return Chromium(found)


def _on_path() -> Path | None:
    return next((Path(path) for name in NAMES if (path := shutil.which(name))), None)


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(_: Path) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run = subprocess.run(["sh", "-c", INSTALL], env=environment, capture_output=True, text=True, timeout=600)
    if run.returncode:
        raise Unavailable(f"{INSTALL}, as root, failed: {run.stderr.strip()[-300:]}")
