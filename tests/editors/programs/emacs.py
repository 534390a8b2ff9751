"""Emacs 30 for terminals, from Debian, with the Eglot that is part of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from editors.programs import Unavailable, debian

SUITE = "forky"


@dataclass(frozen=True)
class Emacs:
    """command: what starts it, in that environment. version: such as (30, 2)."""

    command: list[str]
    environment: Mapping[str, str]
    version: tuple[int, ...]


def get(cache: Path) -> Emacs:
    """Emacs from the cache, or else downloaded."""
    folder = debian.get(cache, SUITE, ["emacs-nox"])
    try:
        [libexec] = folder.glob("usr/libexec/emacs/*/*")
        [dump] = libexec.glob("*.pdmp")
    except ValueError:
        raise Unavailable(f"{folder.name} is not laid out as expected") from None
    version = libexec.parent.name
    share = folder / "usr/share/emacs" / version
    environment = {
        "EMACSLOADPATH": str(share / "lisp"),
        "EMACSDATA": str(share / "etc"),
        "EMACSDOC": str(share / "etc"),
        "EMACSPATH": str(libexec),
    }
    command = [*debian.command(folder, "usr/bin/emacs-nox"), f"--dump-file={dump}"]
    asked = subprocess.run([*command, "--version"], capture_output=True, text=True, env={**os.environ, **environment})
    if asked.returncode or not asked.stdout.startswith(f"GNU Emacs {version}"):
        raise Unavailable(f"Emacs does not run here: {(asked.stderr or asked.stdout).strip()[-200:]}")
    return Emacs(command, environment, tuple(int(part) for part in version.split(".")))
