"""Make paths and names of URIs; knows nothing of documents."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from pygls.uris import to_fs_path

_CELL = "vscode-notebook-cell"
_OF_FILES = ("file", _CELL)


@lru_cache(maxsize=1024)
def path_of(uri: str) -> Path | None:
    """Return the path of a `file:` URI, and of a notebook's cell that of the notebook; None for `untitled:` and the like."""
    try:
        scheme, host, path, _, _ = urlsplit(uri)
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
