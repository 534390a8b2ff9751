"""Leave out what nobody wants in their text, whatever the place: other people's licences, one thing over and over.

Rules like those of `tidy.py`, which runs them: each gets a fill and its place, and removes something or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from palimpsest_engine.fill.place import Place, letters, lines_of_code, width

# Who holds the rights is nobody's to guess, and a model knows only other people's names.
_LICENCE = re.compile(
    r"copyright\b|\(c\)\s*(?:19|20)\d\d|©|\ball rights reserved\b|\blicen[sc]ed\s+(?:under|to)\b"
    r"|spdx-license|\bwithout warranty of any kind\b|\bpermission is hereby granted\b|@author\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(r"([^\n]{2,48}?)\1{2,}")  # the same thing three times running, on one line
_LEAST = 8  # characters of that
_DEFINITION = re.compile(r"\s*(?:async\s+)?def\s+(\w+)\b.*:$|\s*class\s+(\w+)\b.*:$")
_DOCSTRING, _ITEM, _STATEMENT = 12, 12, 20  # letters that make it no accident if one is there twice
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


def other_than_the_lines_beside(fill: str, place: Place) -> str:
    """Cut at a line that its block has already: the same statement or option, a docstring of the file, a definition of a name
    that is defined there."""
    if place.rest.strip() or place.hole.strip():
        return fill
    base = width(place.prefix + fill.partition("\n")[0])
    above, below = place.before[: len(place.before) - len(place.prefix)], place.after[len(place.rest) :]
    beside = [*_block(above.split("\n")[::-1], base), *_block(below.split("\n"), base)]
    decorated = _last(above).lstrip().startswith("@")
    for at, line in lines_of_code(fill, place):
        whole = (place.prefix + line if not at else line).rstrip()
        if width(whole) != base:
            continue
        if _stands_there(whole, beside, place) and not decorated:
            return fill[:at].rstrip()
        decorated = whole.lstrip().startswith("@")
    return fill


def _stands_there(line: str, beside: Sequence[str], place: Place) -> bool:
    """Return whether a line says what one beside it says already, or a docstring what another one of the file says."""
    text = line.strip()
    if letters(text) >= _DOCSTRING and text.startswith(('"""', "'''")) and text[3:].endswith(text[:3]):
        return f"{text}\n" in place.before or f"{text}\n" in place.after
    if defined := _DEFINITION.match(line):
        name = defined[1] or defined[2]
        return any(name in (other[1], other[2]) for each in beside if (other := _DEFINITION.match(each)))
    # A decorator stands wherever it is due, loops and conditions come again, and calls of many lines begin and end alike.
    common = text.startswith(("@", ")", "}", "]")) or text.endswith(tuple(":([{"))
    return letters(text) >= (_ITEM if text.endswith(",") else _STATEMENT) and not common and line in beside


def _block(lines: Sequence[str], base: int) -> Iterator[str]:
    """Yield the lines of this indentation, from the nearest on, as far as the block goes."""
    for line in lines:
        if line.strip():
            if width(line) < base:
                return
            if width(line) == base:
                yield line.rstrip()


def _last(text: str) -> str:
    """Return the last line of a text that is not blank."""
    return next((line for line in reversed(text.split("\n")) if line.strip()), "")


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
