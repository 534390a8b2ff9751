"""The documents of a run as one array of bytes: packed into a small file, and windows drawn from it. Knows no tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from palimpsest_train.errors import TrainingError


class Texts:
    """Documents end to end: data `uint8 [N]`, starts `[D + 1]`, times `[D]` (how much more often than once one is drawn)."""

    def __init__(self, data: np.ndarray, starts: np.ndarray, times: np.ndarray) -> None:
        self.data, self.starts = data, starts
        self._shares = np.cumsum(np.diff(starts) * times.astype(np.float64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def document(self, number: int) -> str:
        """Return one document's text."""
        return bytes(self.data[self.starts[number] : self.starts[number + 1]]).decode("utf-8", "ignore")

    def window(self, rng: np.random.Generator, reach: int) -> tuple[str, int]:
        """Return (text around a random place, that place in it): up to `reach` bytes on each side, of one document."""
        number = int(np.searchsorted(self._shares, rng.random() * self._shares[-1], side="right"))
        number = min(number, len(self) - 1)
        first, last = int(self.starts[number]), int(self.starts[number + 1])
        place = int(rng.integers(first, last))
        before = bytes(self.data[max(first, place - reach) : place]).decode("utf-8", "ignore")
        after = bytes(self.data[place : min(last, place + reach)]).decode("utf-8", "ignore")
        return before + after, len(before)


def pack(rows: Iterable[Mapping[str, str]], times: Mapping[str, float], out: Path, most: int, seed: int = 0) -> int:
    """Write rows of a corpus (`{"group", "text"}`) as texts; returns their number. times: by group, how often each is drawn.

    most: bytes; documents are left out at random until they fit.
    """
    kept = [(times.get(row["group"], 1.0), row["text"].encode("utf-8", "ignore")) for row in rows]
    order = np.random.default_rng(seed).permutation(len(kept))
    sizes = np.cumsum([len(kept[i][1]) for i in order])
    chosen = [kept[i] for i in order[: int(np.searchsorted(sizes, most, side="right"))] if kept[i][1]]
    if not chosen:
        raise TrainingError("There are no texts to pack.")
    data = np.frombuffer(b"".join(text for _, text in chosen), dtype=np.uint8)
    starts = np.concatenate(([0], np.cumsum([len(text) for _, text in chosen]))).astype(np.int64)
    save_file({"data": data, "starts": starts, "times": np.array([t for t, _ in chosen], dtype=np.float32)}, out)
    return len(chosen)


def read(path: Path) -> Texts:
    """Read the texts that `pack` wrote. Raises TrainingError if there are none, or something else."""
    try:
        arrays = load_file(path)
        return Texts(arrays["data"], arrays["starts"], arrays["times"])
    except (OSError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} holds no packed texts: {error}.") from error


def read_jsonl(path: Path) -> list[dict[str, str]]:
    """Read the rows of a split that `palimpsest_train corpus` wrote."""
    try:
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is no split of a corpus: {error}.") from error
