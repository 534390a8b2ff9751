"""Give torch the folders that it needs: one for caches that only the user can write to, and one to work in. Imports no torch.

torch asks for the first when parts of it are imported, though nothing here is compiled that would be kept there. By default
it is in the folder for temporary files, under a name that anybody can guess, and the import fails if it cannot be made.
"""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("palimpsest.engine")

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def make_private_caches() -> None:
    """Make the folder and name it to torch; warn if it cannot be made, and name one that torch does not have to make.

    A folder that the user has named stays, if it can be used.
    """
    named = os.environ.get(_VARIABLE)
    try:
        if named:
            os.makedirs(named, exist_ok=True)
        else:
            os.environ[_VARIABLE] = str(_private())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        log.warning("there is no folder for torch's caches (%s); nothing that torch compiles is kept", why)
        os.environ[_VARIABLE] = os.path.abspath(os.sep)  # it is there, which is all that torch asks


def _private() -> Path:
    from platformdirs import user_cache_path

    folder = user_cache_path("palimpsest", appauthor=False) / "torch"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = os.stat(folder)
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022):
        raise OSError(f"others can write to {folder}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} cannot be written to")
    return folder


def leave_a_deleted_folder() -> None:
    """Work in the user's home, or at the root, if the folder that the process works in was deleted.

    torch's library for linear algebra ends the process if it cannot find out where it is when it is first used.
    """
    with suppress(OSError):
        os.getcwd()
        return
    for folder in (os.path.expanduser("~"), os.path.abspath(os.sep)):
        with suppress(OSError):
            os.chdir(folder)
            log.warning("the working directory was deleted; this process goes on in %s", folder)
            return
