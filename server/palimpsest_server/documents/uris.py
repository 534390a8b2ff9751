"""Make paths of URIs; knows nothing of documents."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pygls.uris import to_fs_path

_OF_FILES = ("file", "vscode-notebook-cell")


@lru_cache(maxsize=1024)
def path_of(uri: str) -> Path | None:
    """Return the path of a `file:` URI, and of a notebook's cell that of the notebook; None for `untitled:` and the like."""
    try:
        scheme, host, path, _, _ = urlsplit(uri)
        found = to_fs_path(urlunsplit(("file", host, path, "", ""))) if scheme in _OF_FILES else None
    except ValueError:
        return None
    return Path(found) if found else None
