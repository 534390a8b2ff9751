"""Reads and writes files, byte for byte; knows no engine."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest_engine import PalimpsestError, replace
from palimpsest_engine.errors import DataError, DocumentBinary, DocumentChanged, DocumentEncoding, DocumentMissing

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_TEMPORARY = ".palimpsest-writes-"
_PATIENCE_SECONDS, _POLL_SECONDS = 10.0, 0.002  # with a lock that is held for some milliseconds


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file as it was read.

    path: as the user wrote it. data: its bytes. text: its text without the byte order mark, line ends unchanged.
    """

    path: str
    data: bytes
    text: str

    def bytes_of(self, text: str) -> bytes:
        """Encode a text in the way of this file."""
        return (_BOM if self.data.startswith(_BOM) else b"") + text.encode()


def read(path: str) -> TextFile:
    """Read a UTF-8 text file. Raises DocumentMissing, DocumentBinary or DocumentEncoding."""
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DocumentMissing(f"there is no file {path}") from error
    if not stat.S_ISREG(mode):
        raise DocumentMissing(f"{path} is a {'folder' if stat.S_ISDIR(mode) else 'device or pipe'}, not a file")
    data = file.read_bytes()
    if b"\0" in data:
        raise DocumentBinary(f"{path} is not a text file: it has NUL bytes in it")
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = data.removeprefix(_BOM).count(b"\n", 0, error.start) + 1
        raise DocumentEncoding(
            f"{path} is not UTF-8: line {line} has a byte 0x{error.object[error.start]:02x}"
        ) from error
    return TextFile(path, data, text)


def write(file: TextFile, text: str) -> None:
    """Replace the text of the file atomically.

    Links are followed; mode, owner and extended attributes stay. Of two that write at a time, one waits for the other. Raises
    DocumentChanged if the file has changed since it was read, and PalimpsestError if it cannot be written.
    """
    target = Path(os.path.realpath(file.path))
    if not os.access(target, os.W_OK) and target.exists():
        raise PalimpsestError(f"{file.path} is read-only; nothing was written")
    with _alone_in(target.parent) as alone:
        if alone:
            _clear(target.parent)
        try:
            descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        except OSError as error:
            raise PalimpsestError(f"{file.path} cannot be written: {error.strerror}") from error
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(file.bytes_of(text))
                out.flush()
                os.fsync(out.fileno())
            _take_after(target, Path(name), file.path)
            if _now(target) != file.data:
                raise DocumentChanged(f"{file.path} has changed since it was read; nothing was written")
            replace(name, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name)
            raise


@contextmanager
def _alone_in(folder: Path) -> Iterator[bool]:
    """Keep other processes of this program from writing in a folder. Yields whether there is such a lock for it."""
    # A file's own lock would go with the file that is replaced; the folder's stays, and leaves nothing behind.
    if sys.platform == "win32":
        with _lock_beside(folder) as locked:
            yield locked
        return
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a folder that may be written, but not read
        yield False
        return
    try:
        end, locked = time.monotonic() + _PATIENCE_SECONDS, False
        while not locked:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                if time.monotonic() > end:
                    raise PalimpsestError(f"another process keeps {folder} locked; nothing was written") from None
                time.sleep(_POLL_SECONDS)
            except OSError:  # a file system without locks
                break
        yield locked
    finally:
        os.close(descriptor)


@contextmanager
def _lock_beside(folder: Path) -> Iterator[bool]:
    """Lock a file of the user's that stands for the folder: Windows has no locks of folders."""
    from filelock import FileLock, Timeout
    from platformdirs import user_cache_path

    name = hashlib.sha256(os.path.normcase(folder).encode("utf-8", "surrogatepass")).hexdigest()
    try:
        place = user_cache_path("palimpsest", appauthor=False) / "locks"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(place / f"{name}.lock", timeout=_PATIENCE_SECONDS, poll_interval=_POLL_SECONDS, mode=0o600)
        lock.acquire()
    except Timeout:
        raise PalimpsestError(f"another process keeps {folder} locked; nothing was written") from None
    except OSError:  # no place for it
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _clear(folder: Path) -> None:
    """Remove what a process that was killed has left: whoever has the lock is the only one with a temporary file there."""
    for left in folder.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            if stat.S_ISREG(left.lstat().st_mode):
                left.unlink()


def _take_after(target: Path, new: Path, shown: str) -> None:
    """Give the new file the owner, mode and extended attributes of the old one."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return  # the file is gone; the comparison that follows reports it
    if old.st_nlink > 1:
        raise PalimpsestError(f"{shown} has {old.st_nlink} names (hard links), and the others would keep the old text")
    if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (new.stat().st_uid, new.stat().st_gid):
        try:
            os.chown(new, old.st_uid, old.st_gid)
        except PermissionError as error:
            whose = "it belongs to another user" if old.st_uid != new.stat().st_uid else "its group is not one of yours"
            raise PalimpsestError(f"{shown} cannot be written: {whose}") from error
    shutil.copystat(target, new)
    os.utime(new)  # `copystat` also copied the old time, which build tools would trust


def _now(target: Path) -> bytes | None:
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None


def put(path: Path, text: str) -> None:
    """Write a text file of our own atomically. Raises PalimpsestError if it cannot be written."""
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
        replace(name, path)
    except OSError as error:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise PalimpsestError(f"{path} cannot be written: {error.strerror}") from error


def read_unzipped(path: Path) -> bytes:
    """Read a data file, gzip or not. Raises DocumentMissing, or DataError if the gzip file is damaged."""
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DocumentMissing(f"there is no file {path}") from error
    if raw.startswith(_GZIP):
        try:
            return gzip.decompress(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path} is a damaged gzip file") from error
    if path.suffix == ".gz":
        raise DataError(f"{path} is named .gz but is not a gzip file")
    return raw


def json_rows(path: Path, raw: bytes) -> Iterator[tuple[int, Any]]:
    """Parse JSON Lines. Yields line numbers from 1 and values; skips blank lines. Raises DataError that names the line."""
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
            raise DataError(f"{path} line {number}: not JSON in UTF-8") from error
