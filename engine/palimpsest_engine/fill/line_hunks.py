"""Tell two texts apart in lines. Text only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True, slots=True)
class LineHunk:
    """Lines `[start, end)` of a text that become `lines`, with their line ends."""

    start: int
    end: int
    lines: tuple[str, ...]


def replaced(old: str, new: str) -> list[LineHunk]:
    """Return the places where two texts differ, but for those that differ in white space alone.

    As many lines in place of others are as many places.
    """
    was, now = old.splitlines(keepends=True), new.splitlines(keepends=True)
    found = []
    for kind, i, j, k, m in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        pairs = zip(range(i, j), range(k, m), strict=True) if j - i == m - k else ()
        hunks = [LineHunk(at, at + 1, (now[other],)) for at, other in pairs] or [LineHunk(i, j, tuple(now[k:m]))]
        found += [each for each in hunks if _black(was[each.start : each.end]) != _black(each.lines)]
    return found


def _black(lines: Sequence[str]) -> str:
    return "".join("".join(lines).split())


def spliced(text: str, hunks: Sequence[LineHunk]) -> str:
    """Return the text with some places replaced."""
    lines, out, at = text.splitlines(keepends=True), list[str](), 0
    for hunk in hunks:
        out += [*lines[at : hunk.start], *hunk.lines]
        at = hunk.end
    return "".join([*out, *lines[at:]])
