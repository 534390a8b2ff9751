"""Make paths and names of URIs, and tell those that are spelled differently from different ones; knows no documents."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from pygls.uris import to_fs_path

_CELL = "vscode-notebook-cell"
_OF_FILES = ("file", _CELL)
_SCHEME = re.compile(r"([A-Za-z][\w+.-]+):")  # one letter is a drive
_DRIVE = re.compile(r"/*([A-Za-z]):")


@lru_cache(maxsize=1024)
def path_of(uri: str) -> Path | None:
    """Return the path of a `file:` URI, and of a notebook's cell that of the notebook; None for `untitled:` and the like."""
    try:
        scheme, host, path, _, _ = urlsplit(uri)
        host = "" if host.lower() == "localhost" else host
        found = to_fs_path(urlunsplit(("file", host, path, "", ""))) if scheme in _OF_FILES else None
    except ValueError:
        return None
    return Path(found) if found else None


def name_of(uri: str) -> str:
    """Return the name of the file that a URI of any scheme is about; "" for a part of a file, such as a notebook's cell."""
    try:
        scheme, _, path, _, part = urlsplit(uri)
    except ValueError:
        return ""
    return "" if scheme == _CELL or part else unquote(path).rpartition("/")[2]


@lru_cache(maxsize=4096)
def spelled_alike(uri: str) -> str:
    """Return a text that is the same for all spellings of a URI.

    They differ in what is percent-encoded, in the case of the scheme, of a host and of a drive's letter, in slashes and dots
    that say nothing, in the host of this machine, and in how letters with marks are composed. A path without a scheme is a
    file.
    """
    found = _SCHEME.match(uri)
    scheme, rest = (found[1].lower(), uri[found.end() :]) if found else ("file", uri)
    rest = unicodedata.normalize("NFC", unquote(rest, errors="surrogateescape"))
    if scheme == "file":
        rest = re.sub(r"\A//localhost(?=/)", "", rest.replace("\\", "/"))
        rest = re.sub(r"\A//[^/]+", lambda host: host[0].lower(), rest)
        host, rest = (rest, "") if re.match("//[^/]", rest) else ("", rest)
        rest = host or posixpath.normpath(f"/{rest.lstrip('/')}")
        rest = _DRIVE.sub(lambda drive: f"/{drive[1].lower()}:", rest, count=1) if _DRIVE.match(rest) else rest
    return f"{scheme}:{rest}"
