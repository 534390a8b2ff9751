"""Say how to install what only some commands need, for the Python that runs."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, requires

_PACKAGE = "palimpsest-ls"


def how_to_install(package: str) -> str:
    """Return the command that installs a package of one of our extras, in the range that we declare."""
    try:
        declared = [each.partition(";")[0].strip() for each in requires(_PACKAGE) or ()]
    except PackageNotFoundError:
        declared = []
    wanted = next((each for each in declared if each.startswith((f"{package}<", f"{package}>"))), package)
    return f"`{sys.executable} -m pip install '{wanted}'`"
