"""Write the file that names every package of the corpus with its licence's text; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TextIO

RULE = "=" * 78


class Attribution:
    """Collects name, version, licence and licence texts of each package; a context manager that puts the file in its
    place only if nothing went wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._out: TextIO | None = None

    def __enter__(self) -> Attribution:
        self._out = self._part.open("w", encoding="utf-8")
        self._out.write("The corpus contains code of the packages below, each under its own licence.\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._out
        try:
            self._out.close()  # writes the rest, for which there may be no room
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    def add(self, name: str, version: str, spdx: str, texts: Mapping[str, str]) -> None:
        """Append one package. Texts are by path within it; where there are none, that is said."""
        assert self._out
        self._out.write(f"\n{RULE}\n{name} {version}\nSPDX: {spdx}\n{RULE}\n")
        for path in sorted(texts):
            self._out.write(f"\n--- {path}\n\n{texts[path].strip()}\n")
        if not any(text.strip() for text in texts.values()):
            self._out.write("\nThe package carries no licence text; its metadata names the licence.\n")
