"""Carry a name over by its words: `a_total` is to `b_total` as `aSum` to `bSum`. Texts only."""

from __future__ import annotations

import re

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")


def word_map(substitution: dict[str, str]) -> dict[str, str]:
    """Return which sub-words become which, in lower case, from whole texts that do; without those that become several."""
    found, several = dict[str, str](), set[str]()
    for one, other in substitution.items():
        ours, theirs = _PARTS.findall(one), _PARTS.findall(other)
        if len(ours) != len(theirs):
            continue
        for a, b in zip(map(str.lower, ours), map(str.lower, theirs), strict=True):
            if found.setdefault(a, b) != b:
                several.add(a)
    return {a: b for a, b in found.items() if a != b and a not in several}


def carried(text: str, whole: dict[str, str], words: dict[str, str]) -> str:
    """Return a text with what it holds of one place put in terms of another."""
    if text in whole:
        return whole[text]

    def replaced(match: re.Match[str]) -> str:
        part = match[0]
        other = words.get(part.lower())
        return part if other is None else _styled(part, other)

    return _PARTS.sub(replaced, text)


def _styled(like: str, word: str) -> str:
    if like.isupper() and (len(like) > 1 or len(word) == 1):
        return word.upper()
    if like[:1].isupper():
        return word[:1].upper() + word[1:]
    return word
