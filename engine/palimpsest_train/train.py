"""Trains an embedded checkpoint, resumable to the step: the loop, and what a run keeps in its folder."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from palimpsest_train.data import LeftToRightRows, Rows
from palimpsest_train.errors import TrainingError
from palimpsest_train.flops import step_flops
from palimpsest_train.losses import Step, tensors
from palimpsest_train.model import build
from palimpsest_train.optimise import Average, learning_rate, optimisers
from palimpsest_train.progress import Progress
from palimpsest_train.recipe import Recipe, from_json, with_vocabulary
from palimpsest_train.state import STATE, kept_curve, read_state, write_state

ROWS = {"diffusion": Rows, "left-to-right": LeftToRightRows}


class Run:
    """A training run in a folder: `state.pt` (resume), `curve.jsonl` (losses), `recipe.json`
    (and `recipe-from-N.json` where it was resumed at step N with another one)."""

    def __init__(self, folder: Path, corpus: Path, recipe: Recipe, device: str = "auto") -> None:
        self.begun = time.perf_counter()
        torch.set_num_threads(recipe.threads)
        self.device = chosen(device)
        self.folder = folder
        tokenizer, self.tokenizer_sha256 = read_tokenizer(corpus)
        self.recipe = recipe = with_vocabulary(recipe, tokenizer.get_vocab_size())
        kind = ROWS[recipe.objective]
        self.rows = kind(*read_split(corpus, "train", recipe), tokenizer, recipe.row, recipe.seed)
        held_out = kind(*read_split(corpus, "held_out", recipe), tokenizer, recipe.row, recipe.seed + 1)
        self.held_out = [held_out.batch(recipe.rows) for _ in range(max(1, recipe.held_out_rows // recipe.rows))]
        self.model = build(recipe.shape, recipe.seed).to(self.device)
        self.optimisers = optimisers(self.model, recipe)
        self.average = Average(self.model, recipe.ema)
        self.at = Step(self.model, recipe, self.device)
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).exists():
            self.resume()
        else:
            (folder / "recipe.json").write_text(recipe.said(), "utf-8")
            (folder / "curve.jsonl").unlink(missing_ok=True)

    def resume(self) -> None:
        """Continue exactly where the last save was: weights, their average, optimisers; data and noise follow from the
        step. A recipe may change between calls in anything but the model and the objective."""
        state = read_state(self.folder)
        self.check(state)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.average = Average(self.model, self.recipe.ema)  # a state without one begins it from its weights
        if self.recipe.ema and state.get("average"):
            self.average.steps = state["average"]["steps"]
            for name, saved in state["average"]["weights"].items():
                self.average.weights[name].copy_(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        kept_curve(self.folder, self.step)
        before = state.get("recipe") or (self.folder / "recipe.json").read_text("utf-8")
        if from_json(before, "recipe.json") != self.recipe:
            (self.folder / f"recipe-from-{self.step}.json").write_text(self.recipe.said(), "utf-8")

    def check(self, state: dict[str, Any]) -> None:
        """Raise `TrainingError` if the state is of another model, objective or tokenizer."""
        path = self.folder / "recipe.json"
        said = state.get("recipe") or (path.read_text("utf-8") if path.exists() else None)
        objective = from_json(said, str(path)).objective if said else self.recipe.objective
        if objective != self.recipe.objective:
            raise TrainingError(
                f"{self.folder} holds a {objective} run, and this recipe is {self.recipe.objective}; choose another folder."
            )
        if state.get("tokenizer", self.tokenizer_sha256) != self.tokenizer_sha256:
            raise TrainingError(
                f"{self.folder} was trained with another tokenizer than this corpus has; its tokens mean something else."
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
        average = {"steps": self.average.steps, "weights": self.average.weights} if self.average.weights else None
        write_state(
            self.folder,
            {
                "model": self.model.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "average": average,
                "step": self.step,
                "seconds": self.seconds,
                "recipe": self.recipe.said(),
                "tokenizer": self.tokenizer_sha256,
            },
        )

    def held_out_losses(self) -> tuple[float, float]:
        """Mean (causal, diffusion) loss on the held-out packages of the weights that would be exported; diffusion
        without self-conditioning."""
        with torch.no_grad(), self.average.in_place():
            pairs = [self.at.losses(tensors(batch, self.device), False, 1.0) for batch in self.held_out]
        return float(np.mean([float(c) for c, _ in pairs])), float(np.mean([float(d) for _, d in pairs]))

    def log(self, **row: float) -> None:
        """Append a row to the curve."""
        try:
            with (self.folder / "curve.jsonl").open("a", encoding="utf-8") as curve:
                curve.write(json.dumps({"step": self.step, **{k: round(v, 4) for k, v in row.items()}}) + "\n")
        except OSError as error:
            raise TrainingError(
                f"The curve in {self.folder} could not be written: {error.strerror}. The state saved last is whole; "
                "make room and run the same command again."
            ) from error

    def advance(self, batch: dict[str, Tensor]) -> Tensor:
        """One optimisation step; `[3]` causal loss, diffusion loss and norm of the gradient, on the device."""
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
        """Run to the recipe's end, to step `until`, or for so many minutes since the run was opened; saves on the way
        and at the end. A loss that is no number ends it with `TrainingError`; the last good state stays."""
        recipe, end = self.recipe, min(until or self.recipe.steps, self.recipe.steps)
        with Progress(self.step, end, recipe.tokens, step_flops(recipe)) as progress:
            sums, since, lap = torch.zeros(3, device=self.device), 0, time.perf_counter()
            while self.step < end:
                self.rows.seek(self.step)
                sums += self.advance(tensors(self.rows.batch(recipe.rows), self.device))
                since += 1
                out_of_time = time.perf_counter() - self.begun > 60 * minutes
                saving = self.step % recipe.save_every == 0 or self.step == end or out_of_time
                if self.step % recipe.log_every == 0 or saving:
                    causal, diffusion, norm = (float(x) / since for x in sums)
                    if not math.isfinite(causal + diffusion + norm):
                        raise TrainingError(
                            f"The loss stopped being a number between steps {self.step - since} and {self.step}; the "
                            f"state saved before is kept. Resume with a lower learning_rate or another seed."
                        )
                    now = time.perf_counter()
                    self.seconds += now - lap
                    rate = since * recipe.tokens / (now - lap)
                    if self.step % recipe.log_every == 0:
                        self.log(causal=causal, diffusion=diffusion, tokens_per_second=rate, seconds=self.seconds)
                    progress.told(self.step, causal, diffusion, since, now - lap)
                    sums, since, lap = torch.zeros(3, device=self.device), 0, now
                if self.step % recipe.held_out_every == 0:
                    held = self.held_out_losses()
                    self.log(held_out_causal=held[0], held_out_diffusion=held[1])
                if saving:
                    self.save()
                if out_of_time:
                    progress.say(f"stopped at step {self.step} of {end} after {minutes:g} minutes; saved")
                    return


def chosen(device: str) -> str:
    """`auto` as the device there is; `TrainingError` for one there is not."""
    cuda = torch.cuda.is_available()
    if device.startswith("cuda") and not cuda:
        raise TrainingError(f"The device {device} was asked for, but torch sees no CUDA device; leave it at auto.")
    if device == "auto":
        device = "cuda" if cuda else "cpu"
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in float32
    return device


def read_tokenizer(corpus: Path) -> tuple[Tokenizer, str]:
    """The corpus's tokenizer and the SHA-256 of its file."""
    path = corpus / "tokenizer.json"
    if not path.exists():
        raise TrainingError(f"There is no {path}; make it with `python -m palimpsest_train tokens --corpus {corpus}`.")
    try:
        return Tokenizer.from_file(str(path)), hashlib.sha256(path.read_bytes()).hexdigest()
    except Exception as error:  # tokenizers raises nothing more exact
        raise TrainingError(f"{path} is not a tokenizer: {error}.") from error


def read_split(corpus: Path, split: str, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Tokens `[N]`, mapped rather than read, and document starts `[D + 1]` of a split."""
    try:
        tokens = np.load(corpus / f"{split}.npy", mmap_mode="r")
        starts = np.load(corpus / f"{split}.starts.npy")
    except FileNotFoundError as error:
        raise TrainingError(
            f"There is no {error.filename}; make it with `python -m palimpsest_train tokens --corpus {corpus}`."
        ) from None
    except (OSError, ValueError) as error:
        raise TrainingError(f"The {split} split in {corpus} cannot be read: {error}; encode it again.") from error
    if len(tokens) < recipe.row.context:
        raise TrainingError(
            f"The {split} split in {corpus} has {len(tokens)} tokens, and a row's context is {recipe.row.context}; "
            "it needs more text."
        )
    if starts[-1] != len(tokens) or int(tokens.max()) >= recipe.shape.vocabulary:
        raise TrainingError(f"The {split} split in {corpus} was not encoded by its tokenizer; encode it again.")
    return tokens, starts
