"""Read the names of tracked files from git's index, versions 2 to 4; runs no git and knows no rules."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["LARGEST", "Index", "parsed"]

LARGEST = 32 * 1024 * 1024  # bytes; some three hundred thousand files
_LONGEST = 4096  # bytes of a name: each name of version 4 is built on the one before it
_HEADER = struct.Struct(">4sLL")
_STAT = 40  # bytes of an entry before the hash
_EXTENDED = 0x4000
_SHARED = b"link"


@dataclass(frozen=True, slots=True)
class Index:
    """names: those of tracked files, relative to the top of the working tree. base: the name of the file that a split index
    builds on, "" if this is all of it."""

    names: frozenset[bytes] = frozenset()
    base: str = ""


def parsed(index: bytes, hash_size: int = 20) -> Index:
    """Return what is in an index. Raises ValueError if it is none. A split index may still name what it has taken out."""
    entries = [*_entries(index, hash_size)]
    names, at = frozenset(name for name, _ in entries), entries[-1][1] if entries else _HEADER.size
    while at + 8 <= len(index) - hash_size:
        kind, size = index[at : at + 4], int.from_bytes(index[at + 4 : at + 8])
        if kind == _SHARED:
            return Index(names, f"sharedindex.{index[at + 8 : at + 8 + hash_size].hex()}")
        at += 8 + size
    return Index(names)


def _entries(index: bytes, hash_size: int) -> Iterator[tuple[bytes, int]]:
    """Yield the name of each entry, and the place behind it."""
    if len(index) < _HEADER.size:
        raise ValueError("it is too short")
    signature, version, count = _HEADER.unpack_from(index)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("it is no index of a known version")
    at, name = _HEADER.size, b""
    for _ in range(count):
        start, at = at, at + _STAT + hash_size + 2
        if int.from_bytes(index[at - 2 : at]) & _EXTENDED:
            at += 2
        if version == 4:
            kept, at = _kept(index, at, len(name))
            end = index.index(b"\0", at)
            name = name[:kept] + index[at:end]
            at = end + 1
        else:
            end = index.index(b"\0", at)
            name = index[at:end]
            at = end + 8 - (end - start) % 8  # one to eight zeros
        if len(name) > _LONGEST:
            raise ValueError("a name is too long")
        yield name, at


def _kept(index: bytes, at: int, length: int) -> tuple[int, int]:
    """Read how many bytes of the last name are left out. Returns how many are kept, and the place behind the number."""
    value = -1
    for byte in index[at : at + 5]:
        at += 1
        value = (value + 1) << 7 | (byte & 0x7F)
        if byte < 0x80:
            break
    if not 0 <= value <= length:
        raise ValueError("a name leaves out more than there is")
    return length - value, at
