"""Find where a middle that was written left to right ends, by the text that follows its hole. Text only; imports no torch."""

from __future__ import annotations

ENOUGH = 12  # code points of the suffix, written again, that prove the middle ended before them


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
