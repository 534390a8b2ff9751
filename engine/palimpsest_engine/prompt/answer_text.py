"""Read the code out of what a chat model answered: without fences, remarks, and lines that stand around the place.

Text only: knows no tokens and no request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

FENCE = "```"
_TEXTS = frozenset({"", "markdown", "html"})  # languages in which a remark may be meant
# The beginning of a sentence that chat models say about their code, in front of it or behind it.
_REMARK = re.compile(
    r"(\*\*|#{3,} )?(Here(['’]s| is| are)|Below is|Sure|Certainly|Of course|Okay|Explanation|Note( that)?|In this|"
    r"I(['’]ve| have)|(The|This|These)( (above|following|updated|rewritten|modified|new|given|code|function|method|version|"
    r"implementation|changes?|program|class|script|snippet)){1,3})\b[^{}\[\]=;]*([.:!]|$)"
)
_IMPORT = re.compile(r"(import|from|#include|using|package|use|require)\b")


def remark(line: str) -> bool:
    """Return whether a line is a sentence about code rather than code."""
    return _REMARK.match(line.lstrip()) is not None


def unfenced(lines: Sequence[str], language: str, fence: str = FENCE) -> list[str]:
    """Return the lines of the first code block, or all if there is none; without remarks at both ends."""
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith(fence)]
    start, end = 0, fences[0] if fences else len(lines)
    if fences:
        first = next((line for line in lines[:end] if line.strip()), None)
        if first is None or lines[end].strip() != fence or remark(first):  # what stands before this fence is no code
            start, end = end + 1, fences[1] if len(fences) > 1 else len(lines)
    inner = [line for line in lines[start:end] if not line.lstrip().startswith(fence)]
    return inner if language in _TEXTS else _without_remarks(inner)


def _without_remarks(lines: list[str]) -> list[str]:
    """Drop the remark in front, and the last paragraphs from the first that begins with a remark."""
    start = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if lines[start:] and remark(lines[start]):
        start += 1
    for number in range(start, len(lines)):
        above = number == start or not lines[number - 1].strip()
        if above and remark(lines[number]) and not lines[number].startswith((" ", "\t")):
            return lines[start:number]
    return lines[start:]


def without_surroundings(lines: Sequence[str], prefix: str, suffix: str, own: str) -> list[str]:
    """Drop lines at both ends that repeat those right before and right behind a place, and imports that stand there.

    own: the text of the place; its lines stay. Blank lines at the ends go, too.
    """
    before, after, kept = _bare(prefix), _bare(suffix), set(_bare(own))
    known = {line for line in (*before, *after) if any(map(str.isalnum, line))} - kept
    bare = [line.strip() for line in lines]
    start, end = 0, len(bare)
    run = 0
    while run < end and (not bare[run] or bare[run] in known):
        run += 1
        if before and bare[run - 1] == before[-1]:
            start = run
    while start < end and (not bare[start] or (bare[start] in known and _IMPORT.match(bare[start]))):
        start += 1
    run = end
    while run > start and (not bare[run - 1] or bare[run - 1] in known):
        run -= 1
        if after and bare[run] == after[0]:
            end = run
    while end > start and not bare[end - 1]:
        end -= 1
    return list(lines[start:end])


def _bare(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def indented_like(text: str, like: str) -> str:
    """Return a text without margin with tabs for its indentation, or blanks, if that is all that another one uses."""
    leads = {line[0] for line in like.split("\n") if line.startswith(("\t", "  "))}
    if leads == {"\t"}:
        widths = [width for line in text.split("\n") if (width := len(line) - len(line.lstrip(" "))) > 1]
        return _led(text, " ", lambda width: "\t" * (width // min(widths)) + " " * (width % min(widths)))
    if leads == {" "}:
        unit = min(len(line) - len(line.lstrip(" ")) for line in like.split("\n") if line.startswith("  "))
        return _led(text, "\t", lambda width: " " * unit * width)
    return text


def _led(text: str, blank: str, lead: Callable[[int], str]) -> str:
    """Return a text whose lines begin with what `lead` makes of their number of leading blanks, if that is more than one."""

    def line_of(line: str) -> str:
        rest = line.lstrip(blank)
        width = len(line) - len(rest)
        return lead(width) + rest if width > 1 or (width and blank == "\t") else line

    return "\n".join(map(line_of, text.split("\n")))
