"""Fetch Debian source packages with apt from a configuration of its own; the system's is read and never written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from palimpsest_train.errors import CorpusError

SYSTEM = Path("/etc/apt")


class AptSources:
    """The system's package sources, read as sources of source code, in a folder that belongs to this corpus."""

    def __init__(self, folder: Path, run: Callable[[list[str], str, Path], str | None], system: Path = SYSTEM) -> None:
        """Write the configuration under `folder` and fetch the index once. Raises CorpusError where there is none."""
        self._options = []
        for option, part in (
            ("Dir::Etc::sourceparts", "sources"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ):
            (folder / part / "partial").mkdir(parents=True, exist_ok=True)
            self._options += ["-o", f"{option}={(folder / part).resolve()}"]
        self._options += ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", "APT::Sandbox::User=root"]
        (folder / "sources" / "partial").rmdir()
        written = 0
        for path in [system / "sources.list", *sorted((system / "sources.list.d").glob("*"))]:
            if path.suffix in (".list", ".sources") and path.is_file():
                (folder / "sources" / path.name).write_text(as_source(path.read_text("utf-8")), "utf-8")
                written += 1
        if not written:
            raise CorpusError("no apt sources are configured on this system, so Debian packages cannot be fetched")
        if said := run(["apt-get", "-q", *self._options, "update"], "the index of Debian's sources", folder):
            raise CorpusError(f"the index of Debian's sources cannot be fetched: {said.strip().splitlines()[-1]}")

    def command(self, requirement: str, into: Path) -> list[str]:
        """Return the command line that downloads a source package and does not unpack it."""
        return ["apt-get", "-q", *self._options, "source", "--download-only", "--only-source", requirement]


def as_source(configuration: str) -> str:
    """Return an apt source list, in either format, with binary packages turned into source packages."""
    configuration = re.sub(r"(?m)^deb(\s)", r"deb-src\1", configuration)
    return re.sub(r"(?mi)^(Types:).*$", r"\1 deb-src", configuration)
