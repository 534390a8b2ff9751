"""Find texts that share long runs of words with a benchmark; knows benchmark files, and nothing of packages."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from palimpsest_train.errors import CorpusError
from palimpsest_train.grams import WORD, Words, grams

LENGTH = 10  # words, signs not counted: about twice as many tokens
FEWEST_NAMES = 4  # different names in a run; without them it is a row of numbers, which half of numpy contains

# Paths that are benchmark data on the face of it, whether or not that benchmark was given.
BENCHMARK_PATH = re.compile(
    r"human[-_]?eval|(^|[/_-])mbpp|multipl[-_]e([/_.-]|$)|eval[-_]?plus|big[-_]?code[-_]?bench|live[-_]?code[-_]?bench"
    r"|swe[-_]?bench|ds[-_]?1000|cruxeval|santacoder[-_]fim|code[-_]?xglue|repobench",
    re.IGNORECASE,
)


class Benchmarks:
    """The word runs of every problem of the given files; a text that has one of them is contaminated."""

    def __init__(self, files: Iterable[Path], words: Words) -> None:
        """Raise CorpusError if a file cannot be read or is not JSON lines."""
        runs = [self._runs(text, words) for file in files for text in set(problem_texts(file))]
        self._runs_of_all = np.unique(np.concatenate(runs)) if runs else np.zeros(0, np.uint64)

    def __len__(self) -> int:
        return len(self._runs_of_all)

    @staticmethod
    def _runs(text: str, words: Words) -> np.ndarray:
        hashes = words.hashes(text)
        runs = grams(hashes, LENGTH)
        if not len(runs):
            return runs
        windows = np.lib.stride_tricks.sliding_window_view(hashes, LENGTH)
        names = np.array([len({h for h in row if h & 1}) for row in windows.tolist()])
        return runs[names >= FEWEST_NAMES]

    def shared(self, text: str, hashes: np.ndarray) -> str | None:
        """Return the first run of words that the text, whose words are `uint64 [N]`, shares with a benchmark."""
        runs = grams(hashes, LENGTH)
        if not len(runs) or not len(self._runs_of_all):
            return None
        nearest = np.searchsorted(self._runs_of_all, runs).clip(max=len(self._runs_of_all) - 1)
        found = np.flatnonzero(self._runs_of_all[nearest] == runs)
        if not len(found):
            return None
        first = int(found[0])
        return " ".join(WORD.findall(text)[first : first + LENGTH])


def problem_texts(file: Path) -> Iterator[str]:
    """Return the texts of a JSONL or JSONL.gz of problems: each with its solution in place, and its tests.

    Raises CorpusError if the file cannot be read or a line is no JSON object.
    """
    opened: Any = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    problem = json.loads(line)
                    whole = ("prompt", "canonical_solution", "truth", "suffix")
                    yield "".join(_text(problem, key) for key in whole)
                    rest = [key for key in problem if key not in (*whole, "task_id", "entry_point")]
                    yield from filter(None, (_text(problem, key) for key in rest))
    except (OSError, EOFError, ValueError, AttributeError, TypeError) as error:
        raise CorpusError(f"the benchmark {file} cannot be read: {error}") from error


def _text(problem: dict[str, Any], key: str) -> str:
    value = problem.get(key)
    return value if isinstance(value, str) else ""
