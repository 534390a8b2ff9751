"""Hash the word n-grams that near-duplicate search and decontamination compare; knows no files and no benchmarks."""

from __future__ import annotations

import hashlib
import re

import numpy as np

# A word is an identifier, a keyword or a run of digits; signs and white space count for nothing.
WORD = re.compile(r"[^\W\d]\w*|\d+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it loses nothing modulo 2**64


class Words:
    """Turns text into word hashes; remembers the hash of every word it has met.

    The lowest bit of a hash says whether the word is a name (1) or a number (0).
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def hashes(self, text: str) -> np.ndarray:
        """Return `uint64 [N]`, one for each word of the text, in order."""
        known, found = self._known, WORD.findall(text)
        for word in set(found):
            if word not in known:
                digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
                known[word] = int.from_bytes(digest, "little") & ~1 | (not word[0].isdigit())
        return np.fromiter(map(known.__getitem__, found), dtype=np.uint64, count=len(found))


def grams(hashes: np.ndarray, n: int) -> np.ndarray:
    """Return `uint64 [max(0, N - n + 1)]`, one hash for each run of n words, in order; the same run has the same hash
    anywhere."""
    count = max(0, len(hashes) - n + 1)
    result = hashes[:count].copy()
    for k in range(1, n if count else 1):
        result *= _FACTOR
        result ^= result >> np.uint64(29)
        result += hashes[k : k + count]
    return result
