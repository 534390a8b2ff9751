"""Name a file in a diff as `git apply` finds it."""

from __future__ import annotations

import os
import re
from pathlib import Path

_ODD = re.compile(r'[\x00-\x1f"\\\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]')  # also what nobody sees
_ESCAPES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


def name_of(path: str) -> str:
    """Return the name of a file relative to the top of its git repository; outside of one, to the working directory.

    Links are followed. Files of neither are named by the whole path, without the slash at its beginning.
    """
    file = Path(os.path.realpath(path))
    top = next((each for each in file.parents if os.path.lexists(each / ".git")), Path(os.path.realpath(".")))
    return file.relative_to(top if file.is_relative_to(top) else file.anchor).as_posix()


def quoted(name: str) -> str:
    """Return a name as the head of a diff has it: in quotes, as in C, where a plain one would be misread.

    A tab behind a plain name with blanks says where it ends.
    """
    data = os.fsencode(name)
    if not _ODD.search(name) and _is_text(data):
        return name + "\t" * (" " in name)
    text = _is_text(data)
    return '"' + "".join(_escaped(byte, text) for byte in (name if text else data.decode("latin-1"))) + '"'


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _escaped(char: str, text: bool) -> str:
    code = ord(char)
    if code in _ESCAPES:
        return f"\\{_ESCAPES[code]}"
    if text and not _ODD.match(char):
        return char
    return char if code < 0x7F and not _ODD.match(char) else "".join(f"\\{byte:03o}" for byte in _bytes(char, text))


def _bytes(char: str, text: bool) -> bytes:
    return char.encode("utf-8" if text else "latin-1")
