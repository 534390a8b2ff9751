"""Files in and out, byte for byte; knows no engine."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from palimpsest_engine import PalimpsestError
from palimpsest_engine.errors import DocumentBinary, DocumentChanged, DocumentEncoding, DocumentMissing

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file as it was read.

    path: as the user wrote it. data: its bytes. text: without the byte order mark, line ends as they are.
    """

    path: str
    data: bytes
    text: str

    def bytes_of(self, text: str) -> bytes:
        """The file's bytes if it held this text."""
        return (_BOM if self.data.startswith(_BOM) else b"") + text.encode()


def read(path: str) -> TextFile:
    """Read a UTF-8 text. Raises DocumentMissing, DocumentBinary or DocumentEncoding."""
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DocumentMissing(f"there is no file {path}") from error
    if not stat.S_ISREG(mode):
        raise DocumentMissing(f"{path} is a {'folder' if stat.S_ISDIR(mode) else 'device or pipe'}, not a file")
    data = file.read_bytes()
    if b"\0" in data:
        raise DocumentBinary(f"{path} is not a text: it has NUL bytes in it")
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = data.removeprefix(_BOM).count(b"\n", 0, error.start) + 1
        raise DocumentEncoding(
            f"{path} is not UTF-8: line {line} has a byte 0x{error.object[error.start]:02x}"
        ) from error
    return TextFile(path, data, text)


def write(file: TextFile, text: str) -> None:
    """Put a new text in the place of the file, at once or not at all.

    A link is followed; mode, owner and extended attributes stay. Raises DocumentChanged if the file is not
    what was read any more, and PalimpsestError if it may not be written.
    """
    target = Path(os.path.realpath(file.path))
    if not os.access(target, os.W_OK) and target.exists():
        raise PalimpsestError(f"{file.path} may not be written")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise PalimpsestError(f"{file.path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(file.bytes_of(text))
            out.flush()
            os.fsync(out.fileno())
        _take_after(target, Path(name), file.path)
        if _now(target) != file.data:
            raise DocumentChanged(f"{file.path} was changed by somebody else meanwhile; nothing is written")
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _take_after(target: Path, new: Path, shown: str) -> None:
    """Give the new file the owner, mode and extended attributes of the old one."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return  # it is gone; the comparison that follows says so
    if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (new.stat().st_uid, new.stat().st_gid):
        try:
            os.chown(new, old.st_uid, old.st_gid)
        except PermissionError as error:
            raise PalimpsestError(f"{shown} cannot be written: it belongs to somebody else") from error
    shutil.copystat(target, new)
    os.utime(new)  # `copystat` brought the old time along, and build tools look at it


def _now(target: Path) -> bytes | None:
    try:
        return target.read_bytes()
    except FileNotFoundError:
        return None
