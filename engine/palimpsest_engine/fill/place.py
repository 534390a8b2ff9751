"""Look at the place of a fill in its text: lines, words, indentation. Strings only; knows no grammar and no rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from palimpsest_engine.fill import brackets
from palimpsest_engine.prompt.pieces import plain
from palimpsest_engine.syntax.behind import is_word

__all__ = ["Place", "is_word", "plain"]

_LINES = 40  # lines to compare on either side


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a fill: the text before, in and after the hole, line ends as `\\n`."""

    before: str
    hole: str
    after: str
    multiline: bool

    @property
    def prefix(self) -> str:
        """Return the line up to the hole."""
        return self.before[self.before.rfind("\n") + 1 :]

    @property
    def rest(self) -> str:
        """Return the line from the end of the hole on."""
        return self.after.partition("\n")[0]

    @property
    def beside_code(self) -> bool:
        """Return whether there is something else on the line."""
        return bool(self.prefix.strip() or self.rest.strip())

    @property
    def quote(self) -> str:
        """Return the quote of the string around the hole, or ""."""
        return brackets.open_quote(self.prefix)

    def lines_above(self) -> list[str]:
        """Return the last lines above the hole's that are not blank, the nearest last."""
        return not_blank(self.before.rsplit("\n", _LINES + 1)[-_LINES - 1 : -1])

    def lines_below(self) -> list[str]:
        """Return the first lines below the hole's that are not blank."""
        return not_blank(self.after.split("\n", _LINES + 1)[1 : _LINES + 1])


def not_blank(lines: list[str]) -> list[str]:
    """Return the lines that are not blank."""
    return [line for line in lines if line.strip()]


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its offset."""
    at = 0
    for line in text.split("\n"):
        yield at, line
        at += len(line) + 1


def lines_of_code(fill: str, place: Place) -> Iterator[tuple[int, str]]:
    """Return the lines that do not begin inside a string of many lines."""
    strings = brackets.strings_of_many_lines(fill, place.quote)
    return ((at, line) for at, line in lines_of(fill) if not any(start < at < end for start, end in strings))


def lead_of(line: str) -> str:
    """Return the blanks before the text of a line."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def width(line: str) -> int:
    """Return the columns of indentation; tabs only ever meet tabs, so their width hardly matters."""
    return len(lead_of(line).expandtabs(4))


def line_key(line: str) -> tuple[int, str]:
    """Return indentation and text without white space, to compare lines by."""
    return width(line), "".join(line.split())


def letters(text: str) -> int:
    """Count the characters of words."""
    return sum(map(is_word, text))


def squeezed(text: str) -> tuple[str, list[int]]:
    """Return the text without white space, and the old offset of each character."""
    where = [at for at, character in enumerate(text) if not character.isspace()]
    return "".join(text[at] for at in where), where


def unit_of(place: Place) -> str:
    """Return one level of indentation around the place: a tab, some spaces, or "" if there is none."""
    lead = lead_of(place.prefix) if len(lead_of(place.prefix)) > 1 or place.prefix[:1] == "\t" else ""
    lines = [*place.lines_above(), *place.lines_below()]
    tabs = sum(line.startswith("\t") for line in lines)
    spaces = sum(line.startswith("  ") for line in lines)
    if tabs if spaces >= tabs else 4 * spaces > tabs:
        return ""  # tabs among spaces are eight columns, not one level
    if lead.startswith("\t") or (not lead and tabs > spaces):
        return "\t"
    if not lead and not spaces:
        return ""
    widths = [width(line) for line in lines]
    steps = Counter(step for one, other in pairwise(widths) if 1 < (step := other - one) <= 8)
    return " " * (min(steps, key=lambda step: (-steps[step], step)) if steps else 4)
