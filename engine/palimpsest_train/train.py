"""Train an embedded checkpoint, resumable to the step. Knows of rows, losses and files only through their modules."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palimpsest_train.batches import batches
from palimpsest_train.errors import TrainingError
from palimpsest_train.flops import step_flops
from palimpsest_train.losses import Step, tensors
from palimpsest_train.model import build
from palimpsest_train.optimise import Average, learning_rate, optimisers
from palimpsest_train.progress import Progress
from palimpsest_train.recipe import Recipe, with_vocabulary
from palimpsest_train.splits import Source, fingerprint, read_split, read_tokenizer
from palimpsest_train.state import STATE, append_curve, begin, go_on, read_state, recipes, write_state


class Run:
    """A training run in a folder (see `state.py`), begun there or resumed."""

    def __init__(self, folder: Path, corpus: Path, recipe: Recipe, device: str = "auto") -> None:
        self.opened = time.perf_counter()
        self.folder, self.device = folder, chosen(device)
        torch.set_num_threads(recipe.threads)
        tokenizer = read_tokenizer(corpus)
        self.tokenizer = fingerprint(tokenizer)
        self.recipe = recipe = with_vocabulary(recipe, tokenizer.get_vocab_size())
        read_split(corpus, "train", recipe)  # if it is not there, that is said before anything is written
        self.source = Source(corpus, "train", recipe, recipe.seed)
        held_out = Source(corpus, "held_out", recipe, recipe.seed + 1).open()
        self.held_out = [held_out.batch(recipe.rows) for _ in range(max(1, recipe.held_out_rows // recipe.rows))]
        self.model = build(recipe.shape, recipe.seed)
        self.model.to(self.device)  # type: ignore[arg-type]  # the library wraps it without its types
        self.optimisers = optimisers(self.model, recipe)
        self.average = Average(self.model, recipe.ema)
        self.at = Step(self.model, recipe, self.device)
        self.step, self.seconds = 0, 0.0
        if (folder / STATE).exists():
            self.resume()
        else:
            begin(folder, recipe)

    def resume(self) -> None:
        """Continue exactly where the last save was: weights, their average, optimisers; data and noise follow from the
        step. A recipe may change between calls in anything but the model and the objective."""
        state = read_state(self.folder)
        self.check(state)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.average = Average(self.model, self.recipe.ema, state.get("average"))
        self.step, self.seconds = state["step"], state["seconds"]
        go_on(self.folder, self.step, self.recipe)

    def check(self, state: dict[str, Any]) -> None:
        """Raise `TrainingError` if the state is of another model, objective or tokenizer."""
        objective = recipes(self.folder)[0][1].objective
        if objective != self.recipe.objective:
            raise TrainingError(
                f"{self.folder} holds a {objective} run, and this recipe is {self.recipe.objective}; choose another folder."
            )
        if state.get("fingerprint", self.tokenizer) != self.tokenizer:
            raise TrainingError(
                f"{self.folder} was trained with another tokenizer than this corpus has; choose another folder."
            )
        wanted, found = self.model.state_dict(), state["model"]
        odd = [n for n in wanted.keys() | found.keys() if n not in found or n not in wanted
               or found[n].shape != wanted[n].shape]  # fmt: skip
        if odd:
            raise TrainingError(
                f"{self.folder} holds a model of another shape than this recipe's ({len(odd)} weights differ, "
                f"{min(odd)} for one); take the recipe it was begun with, or another folder."
            )

    def save(self) -> None:
        """Write `state.pt` whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "average": self.average.state(),
            "step": self.step,
            "seconds": self.seconds,
            "fingerprint": self.tokenizer,
        }
        write_state(self.folder, state)

    def held_out_losses(self) -> tuple[float, float]:
        """Return the mean (causal, diffusion) loss on the held-out packages of the weights that would be exported;
        diffusion without self-conditioning."""
        with torch.no_grad(), self.average.in_place():
            pairs = [self.at.losses(tensors(batch, self.device), False, 1.0) for batch in self.held_out]
        return float(np.mean([float(c) for c, _ in pairs])), float(np.mean([float(d) for _, d in pairs]))

    def log(self, **row: float) -> None:
        """Append a row to the curve."""
        append_curve(self.folder, {"step": self.step, **{k: round(v, 4) for k, v in row.items()}})

    def advance(self, batch: dict[str, Tensor]) -> Tensor:
        """Take one optimisation step; return `[3]`, the causal loss, diffusion loss and norm of the gradient, on the
        device."""
        causal, diffusion = self.at.losses(batch, *self.at.drawn(self.step))
        torch.autograd.backward(causal + self.recipe.diffusion_weight * diffusion)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(self.step, self.recipe)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.average.update()
        self.step += 1
        return torch.stack((causal.detach(), diffusion.detach(), norm.detach()))

    def train(self, until: int | None = None, minutes: float = math.inf) -> None:
        """Run to the recipe's end, to step `until`, or for so many minutes since the run was opened; an interrupt ends
        the step first. Saves on the way and at the end. Raises `TrainingError` for a loss that is no number, a full disk
        or a lost worker; the state saved before stays."""
        recipe, end = self.recipe, min(until or self.recipe.steps, self.recipe.steps)
        steps = range(self.step, end)
        with (
            Progress(self.step, end, recipe.tokens, step_flops(recipe)) as progress,
            closing(batches(self.source, steps)) as source,
            asked_to_stop() as stop,
        ):
            lap = Lap(self)
            for batch in source:
                try:
                    lap.add(self.advance(tensors(batch, self.device)))
                except torch.OutOfMemoryError as error:
                    raise TrainingError(
                        f"A step of {recipe.rows} rows does not fit the GPU's memory; resume with fewer, as in --set rows="
                        f"{max(1, recipe.rows // 2)}."
                    ) from error
                if time.perf_counter() - self.opened > 60 * minutes:
                    stop.set()
                last = self.step == end or stop.is_set()
                saving = last or self.step % recipe.save_every == 0
                reporting = saving or self.step % recipe.log_every == 0
                if reporting:
                    progress.told(self.step, *lap.end())
                if self.step % recipe.held_out_every == 0:
                    held = self.held_out_losses()
                    self.log(held_out_causal=held[0], held_out_diffusion=held[1])
                if saving:
                    self.save()
                if last:
                    break
                lap = Lap(self) if reporting else lap
        if self.step < end:
            progress.say(f"stopped at step {self.step} of {recipe.steps} and saved; the same command goes on")


class Lap:
    """Losses and time since the last report. They are added up on the device, and read once a lap."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.sums, self.steps, self.begun = torch.zeros(3, device=run.device), 0, time.perf_counter()

    def add(self, losses: Tensor) -> None:
        """Take in what a step gave."""
        self.sums += losses
        self.steps += 1

    def end(self) -> tuple[float, float, int, float]:
        """Log the lap and return its (causal, diffusion, steps, seconds). Raises `TrainingError` for NaN."""
        run, steps = self.run, self.steps
        causal, diffusion, norm = (x / steps for x in self.sums.tolist())
        if not math.isfinite(causal + diffusion + norm):
            raise TrainingError(
                f"The loss stopped being a number between steps {run.step - steps} and {run.step}; the state saved before "
                "is kept. Resume with a lower learning_rate or another seed."
            )
        seconds = time.perf_counter() - self.begun
        run.seconds += seconds
        rate = steps * run.recipe.tokens / seconds
        run.log(causal=causal, diffusion=diffusion, tokens_per_second=rate, seconds=run.seconds)
        return causal, diffusion, steps, seconds


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Yield an event that the first interrupt or request to terminate sets; the second one acts as ever."""
    event = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def chosen(device: str) -> str:
    """Return the device to use; raise `TrainingError` if it is not there."""
    if device not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"The device is {device!r}; it can be auto, cpu or cuda.")
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise TrainingError("The device cuda was asked for, but torch sees no CUDA device; leave it at auto.")
    if device == "cpu" or not cuda:
        return "cpu"
    torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in float32
    return "cuda"
