"""Read files out of wheels, sdists, npm tarballs and Debian source packages in memory; writes nothing, runs nothing.

Since no member is ever written under its own name, none can land outside a folder; links and odd paths are passed over.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from palimpsest_train.errors import CorpusError

MOST_BYTES = 2_000_000  # of one member: larger ones are data, or a bomb
BROKEN = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, NotImplementedError, OSError)


def read_members(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the members whose path is wanted and that are regular files of at most 2 MB, by path, in no particular order.

    The single top folder of a tarball (`name-1.0/`, `package/`) is taken off. Raises CorpusError for a broken archive.
    """
    try:
        if archive.suffix in (".whl", ".zip"):
            return _zip(archive, wanted)
        return _tar(archive, wanted)
    except BROKEN as error:
        raise CorpusError(f"the archive {archive.name} is broken ({error}); delete it and run again") from error


def is_safe(path: str) -> bool:
    """Return whether a path is relative and stays below where it starts, whichever system reads it."""
    return not (
        path.startswith(("/", "\\")) or ":" in path or ".." in PurePosixPath(path.replace("\\", "/")).parts or not path
    )


def _zip(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        infos = [i for i in opened.infolist() if not i.is_dir() and i.file_size <= MOST_BYTES and is_safe(i.filename)]
        names = {info.filename: info for info in infos}
        top = "" if archive.suffix == ".whl" else _top(list(names))
        return {n[len(top) :]: opened.read(info) for n, info in names.items() if wanted(n[len(top) :])}


def _tar(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            if not member.isreg() or member.size > MOST_BYTES:
                continue
            name = member.name.removeprefix("./")
            inner = name.partition("/")[2] or name
            if is_safe(name) and (wanted(inner) or wanted(name)):
                file = opened.extractfile(member)
                found[name] = file.read() if file else b""
    top = _top(list(found))
    return {name[len(top) :]: data for name, data in found.items() if wanted(name[len(top) :])}


def _top(names: list[str]) -> str:
    tops = {name.partition("/")[0] + "/" for name in names}
    only = tops.pop() if len(tops) == 1 and all("/" in name for name in names) else ""
    return "" if only == "debian/" else only  # what Debian adds to a source has no folder around it
