"""Read the token that clients have to show."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from palimpsest_engine import PalimpsestError

VARIABLE = "PALIMPSEST_API_TOKEN"
SHORTEST, LONGEST = 16, 4096


def secret_of(file: Path | None) -> str | None:
    """Return the token in a file or, without one, in the environment; None if there is neither.

    Raises PalimpsestError with a sentence, which never has the token.
    """
    if file is not None:
        token, source = _read(file), f"the file {file}"
    elif VARIABLE in os.environ:
        token, source = os.environ[VARIABLE], f"the variable {VARIABLE}"
    else:
        return None
    token = token.strip()
    if not SHORTEST <= len(token) <= LONGEST or not all("!" <= each <= "~" for each in token):
        raise PalimpsestError(f"The token in {source} is not one word of {SHORTEST} or more ASCII characters.")
    return token


def _read(path: Path) -> str:
    """Read a file that only its owner may read."""
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise PalimpsestError(f"{path} is no file, so it has no token.")
            if os.name == "posix" and found.st_mode & 0o077:
                raise PalimpsestError(f"The token can be read by others: run `chmod 600 {path}`.")
            return file.read(LONGEST + 2).decode("ascii", "replace")
    except OSError as error:
        raise PalimpsestError(f"The token cannot be read: {path}: {error.strerror or error}.") from None
