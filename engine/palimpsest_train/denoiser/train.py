"""The training loop: by the clock or by a number of steps, saved at half time and at the end, stopped by a lost number."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from palimpsest_train.denoiser.adapter import save
from palimpsest_train.denoiser.feed import Feed
from palimpsest_train.denoiser.loss import Counts, forward, score, tensors
from palimpsest_train.denoiser.network import Adapter, Network
from palimpsest_train.denoiser.recipe import Recipe, longest_hole, share_of_rate
from palimpsest_train.denoiser.rows import Batch
from palimpsest_train.errors import TrainingError


@dataclass(slots=True)
class Length:
    """The length of a run: seconds of wall clock, or steps where they are given."""

    seconds: float
    steps: int | None = None

    def progress(self, began: float, step: int) -> float:
        """Return the share of the run that is over."""
        return step / self.steps if self.steps else (time.monotonic() - began) / self.seconds


class Log:
    """Rows as JSON lines, each on the disk at once, and printed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def row(self, **values: Any) -> None:
        """Write one."""
        line = json.dumps(values)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)


class Trainer:
    """One run."""

    def __init__(self, network: Network, adapter: Adapter, recipe: Recipe, out: Path, log: Log) -> None:
        self.network, self.adapter, self.recipe, self.out, self.log = network, adapter, recipe, out, log
        groups = [
            {"params": adapter.matrices(), "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
            {"params": adapter.rows(), "lr": recipe.row_rate, "weight_decay": 0.0},
        ]
        self.rates = [recipe.learning_rate, recipe.row_rate]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=network.device.type == "cuda")
        self.counts = Counts(network.device)

    def train(self, feed: Feed, length: Length, log_seconds: float = 5.0) -> None:
        """Train until the run's length is over. Raises TrainingError at a lost number, with the last good adapter saved."""
        began = logged = time.monotonic()
        step, halved, waited, positions = 0, False, 0.0, 0
        batches: Iterator[Batch] = iter(feed)
        norm = 0.0
        while (progress := length.progress(began, step)) < 1:
            feed.grow(longest_hole(self.recipe, progress))
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            norm = self.step(batch, progress)
            if not math.isfinite(norm):
                self.save(step, progress, "a number was lost")
                raise TrainingError(f"The gradient of step {step} is not finite; the adapter before it is saved.")
            step += 1
            positions += self.recipe.rows * (self.recipe.context + self.recipe.canvas)
            now = time.monotonic()
            if now - logged >= log_seconds or step in (1, 3, 10):
                self.log.row(
                    step=step,
                    seconds=round(now - began, 2),
                    progress=round(progress, 4),
                    positions_per_second=round(positions / (now - logged)),
                    waited=round(waited / (now - logged), 3),
                    rate=round(self.optimiser.param_groups[0]["lr"], 7),
                    norm=round(norm, 4),
                    longest=longest_hole(self.recipe, progress),
                    memory=memory(self.network.device),
                    **self.counts.read(),
                )
                logged, waited, positions = now, 0.0, 0
            if not halved and progress >= 0.5:
                halved = True
                self.save(step, progress, "half time")
        self.save(step, 1.0, "done")

    def step(self, batch: Batch, progress: float) -> float:
        """Do one update; return the norm of the gradient before it is clipped. Nothing is updated if that is not finite."""
        factor = share_of_rate(self.recipe, progress)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        while not self.tried(batch):
            pass
        parameters = [*self.adapter.matrices(), *self.adapter.rows()]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip))
        if math.isfinite(norm):
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return norm

    def gradient(self, batch: Batch) -> None:
        """Add the gradient of a batch, as many rows at once as the recipe says."""
        r = self.recipe
        total = float(batch.weight.sum())
        for first in range(0, r.rows, r.at_once):
            data = tensors(batch, slice(first, first + r.at_once), r, self.network.device)
            hidden, context = forward(self.network, self.adapter, data)
            score(self.network, self.adapter, hidden, context, data, r.distil, self.counts, total)

    def tried(self, batch: Batch) -> bool:
        """Add the gradient of a batch, or, where the memory is short, let fewer rows go at once and return False."""
        try:
            self.gradient(batch)
            return True
        except torch.OutOfMemoryError:
            if self.recipe.at_once == 1:
                raise
        self.recipe = replace(self.recipe, at_once=next_smaller(self.recipe))
        self.optimiser.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()  # after the handler, when nothing of the failed pass is alive
        self.log.row(at_once=self.recipe.at_once, memory=memory(self.network.device))
        return False

    def save(self, step: int, progress: float, why: str) -> None:
        """Write the adapter as it is."""
        began = time.monotonic()
        paths = save(self.adapter, self.network.base, self.recipe, self.out, step=step, progress=progress)
        self.log.row(saved=why, step=step, files=len(paths), seconds=round(time.monotonic() - began, 2))


def next_smaller(recipe: Recipe) -> int:
    """Return the next smaller number of rows at once that divides a step's rows."""
    return max(n for n in range(1, recipe.at_once) if not recipe.rows % n)


def memory(device: torch.device) -> float:
    """Return the GiB in use at most so far; 0 on a CPU."""
    return round(torch.cuda.max_memory_allocated(device) / 2**30, 2) if device.type == "cuda" else 0.0
