"""Draws batches ahead in processes of their own, so that the device never waits. Fork before the device is used."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from palimpsest_train.denoiser.recipe import SIZES, Recipe
from palimpsest_train.denoiser.rows import Batch, Rows
from palimpsest_train.denoiser.texts import read
from palimpsest_train.denoiser.tokens import Vocabulary
from palimpsest_train.errors import TrainingError

PATIENCE = 120.0  # seconds for a batch before something must be wrong


class Feed:
    """An endless source of batches; a context manager. `grow` changes the longest hole of what is drawn from then on."""

    def __init__(self, texts: Path, vocabulary: Vocabulary, recipe: Recipe, workers: int) -> None:
        """Take the settings. workers: processes; 0 draws in this one."""
        self.recipe = recipe
        self._longest: Synchronized[int] = multiprocessing.Value("i", SIZES[0] if recipe.grow else SIZES[-1])
        self._here = Rows(read(texts), vocabulary, recipe, recipe.seed)
        self._processes: list[Any] = []
        if workers:
            if sys.platform == "win32":
                raise TrainingError("The trainer forks its workers, which Windows cannot; use 0 workers.")
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            fork = multiprocessing.get_context("fork")
            self._queue: Any = fork.Queue(maxsize=2 * workers)
            for number in range(workers):
                process = fork.Process(target=self._work, args=(number,), daemon=True)
                process.start()
                self._processes.append(process)

    def _work(self, number: int) -> None:
        import numpy as np

        self._queue.cancel_join_thread()
        self._here.rng = np.random.default_rng((self.recipe.seed, number))
        while True:
            self._queue.put(self._draw())

    def _draw(self) -> Batch:
        self._here.longest = self._longest.value
        return self._here.batch(self.recipe.rows)

    def grow(self, longest: int) -> None:
        """Let holes have this many tokens."""
        self._longest.value = longest

    def __iter__(self) -> Iterator[Batch]:
        while True:
            if not self._processes:
                yield self._draw()
                continue
            try:
                batch: Batch = self._queue.get(timeout=PATIENCE)
            except Exception as error:
                raise TrainingError(
                    "No rows came for two minutes; a process that draws them must have died."
                ) from error
            yield batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(timeout=5)
