"""Leave out what nobody wants in their text, whatever the place: other people's licences, one thing over and over.

Rules like those of `tidy.py`, which runs them: each gets a fill and its place, and removes something or nothing.
"""

from __future__ import annotations

import re

from palimpsest_engine.fill.place import Place, letters

# Who holds the rights is nobody's to guess, and a model knows only other people's names.
_LICENCE = re.compile(
    r"copyright\b|\(c\)\s*(?:19|20)\d\d|©|\ball rights reserved\b|\blicen[sc]ed\s+(?:under|to)\b"
    r"|spdx-license|\bwithout warranty of any kind\b|\bpermission is hereby granted\b|@author\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"([^\n]{2,48}?)\1{2,}")  # the same thing three times running, on one line
_LEAST = 8  # characters of that
_FIELD = re.compile(r"""(?<!\w)(?:[fF][rR]?|[rR][fF])("{3}|'{3}|["'])""")


def without_licences(fill: str, place: Place) -> str:
    """Cut at a line that says who holds rights, unless the hole had one."""
    if (found := _LICENCE.search(fill)) is None or _LICENCE.search(place.hole):
        return fill
    return fill[: fill.rfind("\n", 0, found.start()) + 1].rstrip()


def not_over_and_over(fill: str, place: Place) -> str:
    """Drop a fill that says the same words three times running, or just what stands before the cursor."""
    for found in _AGAIN.finditer(fill):
        # Rows of signs and digits are code: `0, 0, 0`, `----`, `],[`. Words are not.
        if any(map(str.isalpha, found[1])) and len(found[0]) >= _LEAST:
            return ""
    word, before = fill.strip(), place.prefix.rstrip()
    repeats = letters(word) >= 2 and word.endswith((",", ";")) and before.endswith(word)
    return "" if repeats and not place.hole.strip() else fill


def inside_the_field(fill: str, place: Place) -> str:
    """Cut at the brace that ends a field of an f-string, if the text after the cursor ends it."""
    if not place.quote or "}" not in place.rest or not _in_a_field(place.prefix):
        return fill
    depth = 0
    for at, character in enumerate(fill):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            if not depth:
                return fill[:at] if character == "}" else fill
            depth -= 1
    return fill


def _in_a_field(line: str) -> bool:
    """Return whether the end of a line is in a field of an f-string."""
    begun = [match for match in _FIELD.finditer(line) if match[1] not in line[match.end() :]]
    if not begun:
        return False
    inside = line[begun[-1].end() :].replace("{{", "").replace("}}", "")
    return inside.count("{") > inside.count("}")
