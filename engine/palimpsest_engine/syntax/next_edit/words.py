"""Carry a name over by its words: `a_total` is to `b_total` as `aSum` to `bSum`. Texts only."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Terms:
    """Texts of one place and what they are at another; the same for sub-words, in lower case."""

    whole: dict[str, str]
    words: dict[str, str]

    def of(self, text: str) -> str:
        """Return a text of the one place in terms of the other."""
        return self.whole.get(text) or _PARTS.sub(self._replaced, text)

    def tears(self, text: str) -> bool:
        """Return whether a text holds words of one that stands for another here, and has no counterpart itself."""
        if text in self.whole or self.of(text) != text:
            return False
        own = set(map(str.lower, _PARTS.findall(text)))
        return any(
            own & set(map(str.lower, _PARTS.findall(one))) for one in self.whole if one != text and _WORD.fullmatch(one)
        )

    def _replaced(self, match: re.Match[str]) -> str:
        other = self.words.get(match[0].lower())
        return match[0] if other is None else _styled(match[0], other)


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


def count(text: str) -> int:
    """Return of how many words a text is."""
    return len(_PARTS.findall(text))


def _styled(like: str, word: str) -> str:
    if like.isupper() and (len(like) > 1 or len(word) == 1):
        return word.upper()
    if like[:1].isupper():
        return word[:1].upper() + word[1:]
    return word
