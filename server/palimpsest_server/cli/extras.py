"""Say how to install what only some commands need, for the Python that runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from palimpsest_engine import PalimpsestError

_PACKAGE = "palimpsest-ls"


def check_installed(needed_by: str, packages: Iterable[str]) -> None:
    """Raise PalimpsestError if some of the packages are missing, with the commands that install them."""
    missing = [package for package in packages if find_spec(package.replace("-", "_")) is None]
    if missing:
        commands = " and ".join(map(how_to_install, missing))
        raise PalimpsestError(f"{needed_by} needs {', '.join(missing)}: run {commands}.")


def how_to_install(package: str) -> str:
    """Return the command that installs a package of one of our extras, in the range that we declare."""
    try:
        declared = [each.partition(";")[0].strip() for each in requires(_PACKAGE) or ()]
    except PackageNotFoundError:
        declared = []
    wanted = next((each for each in declared if each.startswith((f"{package}<", f"{package}>"))), package)
    return f"`{sys.executable} -m pip install '{wanted}'`"
