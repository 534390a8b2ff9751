"""Read files of others as long as they are small and ordinary, and keep what was made of them until they change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from palimpsest_server.documents.latest import Latest

_T = TypeVar("_T")


class KeptFiles:
    """Keeps what was made of the last few files.

    most: files that are kept. largest: bytes that are read of each. whole: a larger file is not read at all.
    """

    def __init__(self, most: int, largest: int, *, whole: bool = False) -> None:
        self._largest, self._whole = largest, whole
        self._kept = Latest[tuple[str, object], tuple[tuple[int, int, int], Any]](most)

    def made(self, file: Path, make: Callable[[bytes], _T], what: object = None, *, follow: bool = False) -> _T | None:
        """Return what `make` makes of a file's content; None if there is no such file, it is no ordinary one, or that raises
        ValueError.

        what: tells apart what is made of the same file. follow: links are followed.
        """
        try:
            found = os.stat(file, follow_symlinks=follow)
            if not stat.S_ISREG(found.st_mode):
                return None
            key = (found.st_mtime_ns, found.st_size, found.st_ino)
            kept = self._kept.get((str(file), what))
            if kept is None or kept[0] != key:
                kept = key, self._make(file, found.st_size, make)
                self._kept[str(file), what] = kept
            made: _T | None = kept[1]
            return made
        except (OSError, ValueError):
            return None

    def _make(self, file: Path, size: int, make: Callable[[bytes], _T]) -> _T | None:
        if self._whole and size > self._largest:
            return None
        with open(file, "rb") as stream:
            content = stream.read(self._largest)
        try:
            return make(content)
        except ValueError:
            return None
