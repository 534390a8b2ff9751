"""Find the place where a user's engine process is met: a Unix socket in a folder of the user's own, or a named pipe.

The socket has mode 0600 and its folder 0700, so that no other user can reach it. What it is named after decides which windows
share: those whose environment finds the same models and the same GPUs.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from palimpsest_engine.errors import PalimpsestError

# Of the environment, what decides which model a name means and where it runs.
_DECIDES = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HOME",
    "PALIMPSEST_MODELS",
    "PYTHONPATH",
    "USERPROFILE",
    "XDG_DATA_HOME",
)
_LONGEST = 103  # bytes of a socket's path: macOS has room for 104 with the zero at the end, Linux for 108


class CannotShare(PalimpsestError):
    """The engine process cannot be used; the message says why, as a sentence."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an engine process. address: a path, or the name of a pipe. lock: held by the process that listens."""

    address: str
    lock: Path
    log: Path


def place() -> Place:
    """Return the place of this user and environment; make its folder. Raises CannotShare."""
    known = "\0".join(f"{name}={os.environ.get(name, '')}" for name in _DECIDES)
    name = f"engine-{hashlib.sha256(os.fsencode(known)).hexdigest()[:12]}"
    folder = _folder(len(name) + len(".sock"))
    address = rf"\\.\pipe\palimpsest-{name}" if sys.platform == "win32" else str(folder / f"{name}.sock")
    return Place(address, folder / f"{name}.lock", folder / f"{name}.log")


def runtime_folders() -> tuple[Path, ...]:
    """Return the folders of the user for what only runs now, best first. None of them needs to exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [Path(runtime, "palimpsest")] if os.path.isabs(runtime) and os.path.isdir(runtime) else []
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        cache = os.path.join(home, "Library", "Caches")
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    if os.path.isabs(cache):
        places.append(Path(cache, "palimpsest", "run"))
    return tuple(places)


def _folder(name: int) -> Path:
    """Return the first folder that is the user's alone and leaves room for a name of so many bytes; make it."""
    fault = "there is no folder for its socket"
    for folder in runtime_folders():
        if sys.platform != "win32" and len(os.fsencode(folder)) + 1 + name > _LONGEST:
            fault = f"the path of {folder} is too long for a socket"
            continue
        try:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if stat.S_ISLNK(found.st_mode) or (sys.platform != "win32" and found.st_uid != os.getuid()):
                fault = f"{folder} belongs to another user"
                continue
            folder.chmod(0o700)
        except OSError as error:
            fault = f"{folder} cannot be used ({error.strerror or error})"
            continue
        return folder
    raise CannotShare(f"The engine cannot be shared: {fault}.")
