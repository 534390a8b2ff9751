"""Read the section `palimpsest` in any spelling that clients have for its keys, and doubt globs that can match nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SECTION = "palimpsest"

_VARIABLE = re.compile(r"\$\{[^}]*\}?")
_KNOWN_VARIABLE = re.compile(r"\$\{(workspaceFolder(:[^}]+)?|workspaceRoot|userHome|env:\w+)\}")


def is_named(key: str) -> bool:
    """Return whether a key is the section's name, or begins with it and a dot."""
    return key.partition(".")[0] == SECTION


def undotted(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a section and their values: `palimpsest.seed` is `seed`, and `model.edit` a part of `model`.

    The section may stand within itself. Parts of one value are put together; of two values for a key, the later one counts.
    """
    found: dict[str, Any] = {}
    inner: Mapping[str, Any]
    for name, value in section.items():
        inner = value if name == SECTION and isinstance(value, Mapping) else {name: value}
        for key, given in inner.items():
            head, _, rest = key.removeprefix(f"{SECTION}.").partition(".")
            before = found.get(head)
            if not rest:
                found[head] = given
            elif isinstance(before, Mapping):
                found[head] = {**before, rest: given}
            else:
                found[head] = {rest: given}
    return found


def doubt(globs: Sequence[str]) -> str:
    """Return a sentence about the first of the globs that can match no path, or ""."""
    for glob in globs:
        if unknown := next((each for each in _VARIABLE.findall(glob) if not _KNOWN_VARIABLE.fullmatch(each)), ""):
            return f"{glob} matches nothing: there is no variable {unknown}"
        if "://" in glob and not glob.startswith("file://"):
            return f"{glob} matches nothing: only file: URIs have a path here"
        if not glob.startswith(("/", "~", "$", "file:")) and ".." in re.split(r"[\\/]", glob):
            return f"{glob} matches nothing: no path has .. in it"
    return ""
