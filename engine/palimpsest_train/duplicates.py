"""Find texts that repeat an earlier one, exactly or nearly; knows no files and no packages."""

from __future__ import annotations

import hashlib

import numpy as np
from datasketch import MinHash, MinHashLSH

from palimpsest_train.grams import grams

SHINGLE, PERMUTATIONS, THRESHOLD = 5, 128, 0.8
# 21 bands of 6 rows find 99.8 % of the pairs at the threshold; those below it that they find, too, are then compared.
BANDS, ROWS = 21, 6
FEWEST_SHINGLES = 20  # below that, two short files that do different things look alike too easily


class Duplicates:
    """Remembers the texts that were kept.

    Exact: equal but for white space. Near: the sets of five-word shingles of both texts have a Jaccard similarity of at
    least 0.8, as 128 MinHash permutations estimate it (Broder 1997; standard deviation at most 0.044).
    """

    def __init__(self) -> None:
        self._exact: set[bytes] = set()
        self._near = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
        self._sketches: dict[str, MinHash] = {}
        # Drawing the permutations anew for each text would take longer than using them.
        self._permutations = MinHash(PERMUTATIONS, scheme="affine32").permutations

    def fault(self, text: str, hashes: np.ndarray) -> str | None:
        """Return why the text is not wanted: "exact duplicate", "near duplicate" or None, in which case it is remembered.

        hashes: the words of the text, `uint64 [N]`.
        """
        digest = hashlib.sha256("".join(text.split()).encode("utf-8", "replace")).digest()
        if digest in self._exact:
            return "exact duplicate"
        sketch = self._sketch(hashes)
        if sketch is not None:
            if any(sketch.jaccard(self._sketches[key]) >= THRESHOLD for key in self._near.query(sketch)):
                return "near duplicate"
            key = str(len(self._sketches))
            self._sketches[key] = sketch
            self._near.insert(key, sketch)
        self._exact.add(digest)
        return None

    def _sketch(self, hashes: np.ndarray) -> MinHash | None:
        shingles = np.unique((grams(hashes, SHINGLE) >> np.uint64(32)).astype(np.uint32))
        if len(shingles) < FEWEST_SHINGLES:
            return None
        sketch = MinHash(PERMUTATIONS, hashfunc=int, permutations=self._permutations, scheme="affine32")
        sketch.update_batch(shingles.tolist())
        return sketch
