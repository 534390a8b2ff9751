"""Find the folder that a document lies in, and the glob that covers it; reads the disk only where that is asked for."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import lru_cache
from glob import escape
from pathlib import Path
from typing import TypeVar

from palimpsest_server.documents.uris import path_of

_T = TypeVar("_T")
_MAGIC, _VARIABLE = re.compile(r"[*?[]"), re.compile(r"\$\{([^}]*)\}")


def covering(globs: Sequence[str], path: Path | None, workspace: tuple[Path, ...] = (), *, real: bool = False) -> str:
    """Return the first of the globs that covers the path or a folder that it lies in; "" if none does.

    `/code/secret`, `~/secret`, `file:///code/secret` and `${workspaceFolder}/secret` are those folders, with all their
    contents. A name or a relative path such as `vendor` or `build/generated` matches at any depth. `*`, `?` and `[…]` stay
    within one name, `**` does not. workspace: its folders. real: folders that are links stand for what they lead to, so that
    the disk is read.
    """
    if path is None:
        return ""
    parts = _parts(str(path))
    return next((glob for glob in globs if any(_covers(each, parts) for each in _patterns(glob, workspace, real))), "")


def innermost(path: Path | None, folders: Iterable[str]) -> str:
    """Return the URI of the smallest of the folders that a path lies in, or "" if it lies in none."""
    if path is None:
        return ""
    parts = _parts(str(path))
    held = {folder: _parts(str(place)) for folder in folders if (place := path_of(folder)) is not None}
    around = [folder for folder, place in held.items() if parts[: len(place)] == place]
    return max(around, key=lambda folder: len(held[folder]), default="")


def of_document(path: Path | None, by_folder: Mapping[str, _T], otherwise: _T) -> _T:
    """Return the value of the innermost folder that a document lies in, or `otherwise`."""
    return by_folder[folder] if (folder := innermost(path, by_folder)) else otherwise


def _patterns(glob: str, workspace: tuple[Path, ...], real: bool) -> Iterable[tuple[str, ...]]:
    """Yield what a glob stands for: one pattern, or one for each folder of the workspace."""
    for spelled in _spelled(glob, workspace):
        if not real:
            yield _pattern(spelled)
        elif os.path.isabs(spelled) and not _MAGIC.search(spelled):
            with suppress(OSError, ValueError):
                yield _pattern(os.path.realpath(spelled))


@lru_cache(maxsize=256)
def _spelled(glob: str, workspace: tuple[Path, ...]) -> tuple[str, ...]:
    """Return a glob as paths, without its URI or variables; none if it has an unknown one."""
    if glob.startswith("file:"):
        path = path_of(glob)
        return (str(path),) if path else ()
    given = _VARIABLE.search(glob)
    if given is None:
        return (os.path.expanduser(glob),)
    kind, _, name = given[1].partition(":")
    values: Iterable[str] = ()
    if kind in ("workspaceFolder", "workspaceRoot"):
        values = (str(folder) for folder in workspace if name in ("", folder.name))
    elif kind == "userHome":
        values = (os.path.expanduser("~"),)
    elif kind == "env" and name in os.environ:
        values = (os.environ[name],)
    return tuple(glob[: given.start()] + escape(each) + glob[given.end() :] for each in values)


@lru_cache(maxsize=256)
def _pattern(glob: str) -> tuple[str, ...]:
    parts = _parts(os.path.normpath(glob) if os.path.isabs(glob) else glob)
    if not os.path.isabs(glob):
        parts = ("**", *parts)
    return tuple(part for at, part in enumerate(parts) if part != "**" or parts[at - 1 : at] != ("**",))


def _parts(path: str) -> tuple[str, ...]:
    """Return the names in a path, from the root on, alike for all spellings that the system takes for one.

    On macOS one program may write `é` as a letter and another as an `e` and its mark, so letters are composed everywhere.
    """
    path = unicodedata.normalize("NFC", path)
    if sys.platform == "win32":
        path = path.replace("\\", "/")
    if sys.platform in ("win32", "darwin"):
        path = path.lower()
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _covers(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Return whether the pattern matches the path or a folder above it.

    All ways to match are followed side by side, a name at a time: anybody may have written the globs, so none may cost much.
    """
    ways = _skipping(pattern, {0})
    for part in parts:
        if len(pattern) in ways:
            return True
        on = {at for at in ways if pattern[at] == "**"}
        on |= {at + 1 for at in ways - on if fnmatchcase(part, pattern[at])}
        ways = _skipping(pattern, on)
    return len(pattern) in ways


def _skipping(pattern: tuple[str, ...], ways: set[int]) -> set[int]:
    """Add the ways on which `**` stands for nothing. Two of them never follow each other."""
    return ways | {at + 1 for at in ways if at < len(pattern) and pattern[at] == "**"}
