"""Find where a middle that was written left to right ends, by the text that follows its hole. Text only; imports no torch."""

from __future__ import annotations

from itertools import pairwise

ENOUGH = 12  # code points of the suffix, written again, that prove the middle ended before them
_BELOW = 4  # lines below a hole to compare with


def middle_of(text: str, suffix: str) -> tuple[str, bool]:
    """Return (the text before the suffix begins again in it, whether that is beyond doubt).

    The middle ends at the place that most of the suffix follows, characters that are not blank counting first; at the first
    of equals. It is never empty, and never ends inside a run of blanks. Before an empty suffix the middle is a line.
    """
    if not suffix:
        line, end, _ = text.partition("\n")
        return line + end, bool(end)
    best, found, at = (0, 0), len(text), text.find(suffix[0], 1)
    while at > 0:
        if not (suffix[0] in " \t" and text[at - 1] in " \t"):
            same = common(text[at : at + len(suffix)], suffix)
            found, best = max((found, best), (at, (len(same.strip()), len(same))), key=lambda pair: pair[1])
        at = text.find(suffix[0], at + 1)
    return text[:found], best[1] >= min(ENOUGH, len(suffix)) and best[0] > 0


def common(a: str, b: str) -> str:
    """Return the longest common beginning."""
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]


def before_repetition(text: str, suffix: str) -> str:
    """Return the text before it writes again what stands below its hole: a whole line of the next few that is long enough to
    mean something, or two of them after each other. The first line never counts."""
    below = [line for line in suffix.partition("\n")[2].split("\n") if line.strip()][:_BELOW]
    lines = text.split("\n")
    at = len(lines[0]) + 1
    for line, following in pairwise(lines[1:]):
        if line.strip() and line in below:
            place = below.index(line)
            pair = place + 1 < len(below) and following == below[place + 1]
            if len(line.strip()) >= ENOUGH or pair:
                return text[:at]
        at += len(line) + 1
    return text
