"""Read files of the workspace, and nothing else: bounded, without secrets, never through a link that leads out.

Knows folders and files; nothing of documents, languages or models. Runs on a thread that may wait for a disk.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from palimpsest_server.context.imports import inside
from palimpsest_server.documents.latest import Latest

FILE_BYTES = 256 * 1024
ALL_BYTES = 1024 * 1024
_KEPT = 64
_NAMES = 2_000
_SNIFFED = 8 * 1024


@dataclass(frozen=True, slots=True)
class Look:
    """A file's text, or "" and why it may not be seen. A long file's text ends after `FILE_BYTES`, with a whole line."""

    text: str
    refusal: str = ""


class Workspace:
    """The files below some folders, as `imports.Tree` has them. Not thread-safe; keeps the last few it read.

    forbidden: returns why a path may not be read, or ""; for secrets, and files that git ignores.
    """

    def __init__(self, folders: Sequence[str], forbidden: Callable[[str], str] = lambda path: "") -> None:
        self._folders = tuple(_slashed(os.path.realpath(folder)) for folder in folders)
        self._named = tuple(_slashed(folder) for folder in folders)
        self._forbidden = forbidden
        self._read = Latest[str, tuple[tuple[int, int, int], Look]](_KEPT)

    @property
    def folders(self) -> tuple[str, ...]:
        """Return the workspace's folders, with and without links followed."""
        return tuple(dict.fromkeys((*self._named, *self._folders)))

    def exists(self, path: str) -> bool:
        """Return whether a path is a file of the workspace, once links are followed."""
        real = self._real(path)
        return real is not None and os.path.isfile(real)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder of the workspace, no more than some thousand."""
        real = self._real(folder)
        if real is None:
            return []
        try:
            with os.scandir(real) as entries:
                return [entry.name for entry in islice(entries, _NAMES)]
        except OSError:
            return []

    def read(self, path: str) -> str:
        """Return the text of a file, "" if it may not be seen."""
        return self.look(path).text

    def look(self, path: str) -> Look:
        """Return a file's text, from memory if the file has not changed."""
        real = self._real(path)
        if real is None:
            return Look("", "outside the workspace")
        # Either the name of a link or its target may be forbidden.
        if reason := self._forbidden(path) or self._forbidden(real):
            return Look("", reason)
        try:
            return self._look(real)
        except OSError as error:
            return Look("", error.strerror or "it cannot be read")

    def _real(self, path: str) -> str | None:
        """Follow links; None if they lead out of the workspace."""
        if not inside(_slashed(path), self.folders):
            return None
        try:
            real = _slashed(os.path.realpath(path))
        except (OSError, ValueError):
            return None
        return real if inside(real, self._folders) else None

    def _look(self, real: str) -> Look:
        # Not blocking, or a pipe would hold the thread for ever; no links, `real` has none left to follow.
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return Look("", "not a file")
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            kept = self._read.get(real)
            if kept is None or kept[0] != stamp:
                kept = (stamp, _text(file.read(FILE_BYTES + 1)))
        self._read[real] = kept
        return kept[1]


def _slashed(path: str) -> str:
    """Return a path of this system as `imports` has them, with a slash between names."""
    return path.replace(os.sep, "/")


def _text(data: bytes) -> Look:
    """Decode UTF-8; cut a long text at a line."""
    if b"\0" in data[:_SNIFFED]:
        return Look("", "not a text")
    if len(data) > FILE_BYTES:
        data = data[: data.rfind(b"\n", 0, FILE_BYTES) + 1]
        if not data:
            return Look("", "its first line is too long")
    try:
        return Look(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Look("", "not UTF-8")
