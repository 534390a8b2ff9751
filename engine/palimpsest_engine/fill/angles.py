"""Cut closers in angle brackets that the text has already: of type arguments, and tags. Strings only, as in `tidy`."""

from __future__ import annotations

import re

from palimpsest_engine.fill.place import Place

# A type's arguments begin right behind its name, and end right behind something; comparisons have blanks, arrows more signs.
_ANGLE = re.compile(r"(?<=[\w:.])<(?![<=])|(?<=[\w>\])?*&'\"])>(?![=])|(?<=<)>")
_CLOSING_TAG = re.compile(r"</([A-Za-z][\w.:-]*)?\s*>\Z")


def without_doubled_angles(fill: str, place: Place) -> str:
    """Cut the `>` at the end that the text after the hole has already, if the line up to there needs no more of them."""
    ends = [at for at in range(len(fill.rstrip("> \t\n")), len(fill)) if fill[at] == ">"]
    if place.quote or not ends:
        return fill
    opened, _ = _angles(place.prefix)
    _, closed = _angles(f"x{place.rest}")  # something stands before it
    if not 0 < closed <= opened:
        return fill  # the line alone does not say what is open
    _, written = _angles(f"x{fill}")
    surplus = min(written - (opened - closed), len(ends))
    return fill[: ends[-surplus]] if surplus > 0 else fill


def _angles(text: str) -> tuple[int, int]:
    """Return how many angle brackets of type arguments a text leaves open, and how many it closes without opening them."""
    opened = closed = 0
    for match in _ANGLE.finditer(text):
        if match[0] == "<":
            opened += 1
        elif opened:
            opened -= 1
        else:
            closed += 1
    return opened, closed


def without_a_doubled_tag(fill: str, place: Place) -> str:
    """Cut the closing tag at the end that stands after the hole already, unless the text lacks one."""
    end = _CLOSING_TAG.search(fill)
    if place.quote or end is None or not re.match(rf"\s*</{re.escape(end[1] or '')}\s*>", place.after):
        return fill
    missing = _open_tags(place.before, end[1] or "") + _open_tags(place.after, end[1] or "")
    surplus = -_open_tags(fill, end[1] or "") - max(0, missing)
    return fill[: end.start()] if surplus > 0 else fill


def parts_a_tag(fill: str, at: int) -> bool:
    """Return whether a cut there parts a closing tag from the one that the fill opened for it."""
    closing = {match[1] or "" for match in re.finditer(r"</([A-Za-z][\w.:-]*)?\s*>", fill[at:])}
    return any(_open_tags(fill[:at], name) > 0 for name in closing)


def _open_tags(text: str, name: str) -> int:
    """Return how many more tags of a name a text opens than it closes; less than zero if it closes more."""
    tag = re.escape(name)
    opening = rf"<{tag}(?=[\s>/])(?:[^<>\"'{{}}]|\"[^\"]*\"|'[^']*'|=>|{{[^{{}}]*}})*(?<!/)>" if name else r"<>"
    return len(re.findall(opening, text)) - len(re.findall(rf"</{tag}\s*>", text))
