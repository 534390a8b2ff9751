"""Turn the corpus's splits into token arrays, each document as often as its group says; trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from palimpsest_train.atomic import whole


def repeats_of(path: Path, repeat: dict[str, int]) -> list[int]:
    """Return how often each document of a split is to be written, by its group; 1 where nothing is said."""
    with path.open(encoding="utf-8") as rows:
        return [repeat.get(json.loads(row).get("group", ""), 1) for row in rows]


def repeated(tokens: np.ndarray, starts: np.ndarray, times: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the token array `[N]` and document starts `[D + 1]` with document i written times[i] times.

    The copies follow the whole split, so that its beginning is the split without repetition. A document may have 0.
    """
    lengths = np.diff(starts)
    order = [document for i in range(max(times, default=0)) for document, n in enumerate(times) if n > i]
    if order == list(range(len(lengths))):
        return tokens, starts
    parts = [tokens[starts[d] : starts[d + 1]] for d in order]
    new_starts = np.concatenate([[0], np.cumsum(lengths[order])]).astype(np.int64)
    return (np.concatenate(parts) if parts else tokens[:0]), new_starts


def save(path: Path, array: np.ndarray) -> None:
    """Write an array whole: a killed run leaves the old one as it is."""
    with whole(path) as part, part.open("wb") as out:
        np.save(out, array)
