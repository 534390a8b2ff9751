"""Chromium, in which VS Code's workbench is shown: the system's own, for Playwright's own come from elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from editors.programs import Unavailable, apt_install

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Chromium:
    """executable: the program, to be given to Playwright."""

    executable: Path


def get(cache: Path) -> Chromium:
    """The one on the path. If there is none, Debian's is installed where that is ours to do. cache: not needed."""
    if (found := _on_path()) is None:
        apt_install("no chromium is on the path", "chromium")
        found = _on_path()
    if found is None:
        raise Unavailable("no chromium is on the path, though it was installed")
    return Chromium(found)


def _on_path() -> Path | None:
    return next((Path(path) for name in NAMES if (path := shutil.which(name))), None)
