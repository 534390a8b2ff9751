"""Trains an embedded checkpoint: joint causal and diffusion loss over packed rows, resumable to the step."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from palimpsest_train.data import Batch, Rows, RowShape
from palimpsest_train.model import Shape, build, logits_of, packed_forward


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run; the seed fixes initialisation, data order and noise."""

    steps: int
    rows: int = 16
    learning_rate: float = 3e-3
    warmup: int = 100
    cooldown: float = 0.3
    weight_decay: float = 0.05
    self_conditioning: float = 0.5
    diffusion_weight: float = 1.0
    seed: int = 20261121
    threads: int = 2
    compile: bool = True
    log_every: int = 20
    save_every: int = 200
    held_out_every: int = 400
    held_out_rows: int = 64
    shape: Shape = field(default_factory=Shape)
    row: RowShape = field(default_factory=RowShape)


def learning_rate(step: int, recipe: Recipe) -> float:
    """Warm-up, stable, then a linear cool-down to zero over the last `cooldown` share of the steps (WSD)."""
    left = (recipe.steps - step) / max(1, int(recipe.cooldown * recipe.steps))
    return recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup, max(0.0, left))


class Step:
    """One optimisation step's losses; holds the (possibly compiled) packed forward."""

    def __init__(self, model: Any, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        self.hidden = torch.compile(packed_forward, dynamic=False) if recipe.compile else packed_forward
        self.causal_loss = torch.compile(self._loss, dynamic=False) if recipe.compile else self._loss
        self.canvas_loss = torch.compile(self._loss, dynamic=False) if recipe.compile else self._loss

    @staticmethod
    def _loss(model: Any, hidden: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Weighted mean cross-entropy of `hidden [N, d]` against `targets [N]`, flat in t."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = logits_of(model, hidden)
        losses = F.cross_entropy(logits, targets, reduction="none")
        return (losses * weight).sum() / weight.sum()

    def forward(self, batch: dict[str, Tensor], soft: Tensor) -> Tensor:
        """Hidden states of the packed batch in bfloat16 arithmetic."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.hidden(self.model, batch["context"], batch["noised"], batch["positions"], batch["starts"], soft)

    def soft_embeddings(self, batch: dict[str, Tensor], temperature: float) -> Tensor:
        """What a denoising step before this one would have said: softmax(logits / T) @ E * scale, one-hot at pins."""
        shape = self.recipe.row
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            embed = self.model.model.decoder.embed_tokens
            zeros = torch.zeros(*batch["noised"].shape, embed.embedding_dim)
            hidden = self.forward(batch, zeros)[:, shape.context :]
            probabilities = torch.softmax(logits_of(self.model, hidden) / temperature, dim=-1)
            soft = (probabilities @ embed.weight).float() * embed.embed_scale
            return torch.where(batch["is_hole"][..., None], soft, embed(batch["clean"]).float())

    def losses(self, batch: dict[str, Tensor], self_condition: bool, temperature: float) -> tuple[Tensor, Tensor]:
        """(causal, diffusion) mean cross-entropy in nats a token."""
        shape = self.recipe.row
        soft = torch.zeros(*batch["noised"].shape, self.recipe.shape.hidden)
        if self_condition:
            soft = self.soft_embeddings(batch, temperature)
        hidden = self.forward(batch, soft)
        targets = batch["targets"].flatten()
        known = targets >= 0
        causal = self.causal_loss(
            self.model, hidden[:, : shape.context].flatten(0, 1), targets.clamp_min(0), known.float()
        )
        at = batch["at"]
        picked = torch.gather(hidden[:, shape.context :], 1, at[..., None].expand(-1, -1, hidden.shape[-1]))
        truth = torch.gather(batch["clean"], 1, at)
        diffusion = self.canvas_loss(self.model, picked.flatten(0, 1), truth.flatten(), batch["weight"].flatten())
        return causal, diffusion


def tensors(batch: Batch) -> dict[str, Tensor]:
    """The batch as tensors, by field name."""
    return {name: torch.from_numpy(getattr(batch, name)) for name in Batch.__dataclass_fields__}


def optimisers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, norms, scales and the expert stack."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        if "vision" in name or ".router.proj" in name or ".router.scale" in name:
            parameter.requires_grad_(False)  # no image is ever shown, and one expert of one leaves nothing to route
        elif parameter.ndim == 2 and "embed_tokens" not in name:
            matrices.append(parameter)
        else:
            rest.append(parameter)
    return [
        torch.optim.Muon(
            matrices,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


class Run:
    """A training run in a folder: `state.pt` (resume), `curve.jsonl` (losses), `recipe.json`
    (and `recipe-from-N.json` where it was resumed at step N with another one)."""

    def __init__(self, folder: Path, corpus: Path, recipe: Recipe) -> None:
        torch.set_num_threads(recipe.threads)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.recipe = folder, recipe
        self.tokenizer = Tokenizer.from_file(str(corpus / "tokenizer.json"))
        splits = {
            split: (np.load(corpus / f"{split}.npy"), np.load(corpus / f"{split}.starts.npy"))
            for split in ("train", "held_out")
        }
        self.rows = Rows(*splits["train"], self.tokenizer, recipe.row, recipe.seed)
        held_out = Rows(*splits["held_out"], self.tokenizer, recipe.row, recipe.seed + 1)
        self.held_out = [
            tensors(held_out.batch(recipe.rows)) for _ in range(max(1, recipe.held_out_rows // recipe.rows))
        ]
        self.model = build(replace(recipe.shape, vocabulary=self.tokenizer.get_vocab_size()), recipe.seed)
        self.optimisers = optimisers(self.model, recipe)
        self.at = Step(self.model, recipe)
        self.step = 0
        self.seconds = 0.0
        said = json.dumps(asdict(recipe), indent=1) + "\n"
        if (folder / "state.pt").exists():
            self.resume()
            if said != (folder / "recipe.json").read_text("utf-8"):
                (folder / f"recipe-from-{self.step}.json").write_text(said, "utf-8")
        else:
            (folder / "recipe.json").write_text(said, "utf-8")
            (folder / "curve.jsonl").unlink(missing_ok=True)

    def resume(self) -> None:
        """Continue exactly where the last save was: weights, optimisers, data order and noise."""
        state = torch.load(self.folder / "state.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        self.rows.rng.bit_generator.state = json.loads(state["rng"])
        curve = self.folder / "curve.jsonl"
        kept = [line for line in curve.read_text("utf-8").splitlines() if json.loads(line)["step"] <= self.step]
        curve.write_text("".join(line + "\n" for line in kept), "utf-8")

    def save(self) -> None:
        """Write `state.pt` whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "rng": json.dumps(self.rows.rng.bit_generator.state),
        }
        part = self.folder / "state.pt.part"
        torch.save(state, part)
        part.replace(self.folder / "state.pt")

    def held_out_losses(self) -> tuple[float, float]:
        """Mean (causal, diffusion) loss on the held-out packages; diffusion without self-conditioning."""
        with torch.no_grad():
            pairs = [self.at.losses(batch, False, 1.0) for batch in self.held_out]
        return float(np.mean([float(c) for c, _ in pairs])), float(np.mean([float(d) for _, d in pairs]))

    def log(self, **row: float) -> None:
        """Append a row to the curve."""
        with (self.folder / "curve.jsonl").open("a", encoding="utf-8") as curve:
            curve.write(json.dumps({"step": self.step, **{k: round(v, 4) for k, v in row.items()}}) + "\n")

    def train(self, until: int | None = None) -> None:
        """Run to the recipe's end, or to step `until`; saves on the way and at the end."""
        recipe = self.recipe
        tokens = recipe.rows * (recipe.row.context + recipe.row.canvases * recipe.row.canvas)
        sums, since, begun = np.zeros(2), 0, time.perf_counter()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            bar = progress.add_task("training", total=until or recipe.steps, completed=self.step)
            while self.step < (until or recipe.steps):
                batch = tensors(self.rows.batch(recipe.rows))
                draw = self.rows.rng.random(2)
                causal, diffusion = self.at.losses(
                    batch, bool(draw[0] < recipe.self_conditioning), 0.5 + 0.5 * float(draw[1])
                )
                torch.autograd.backward(causal + recipe.diffusion_weight * diffusion)
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                for optimiser in self.optimisers:
                    for group in optimiser.param_groups:
                        group["lr"] = learning_rate(self.step, recipe)
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)
                self.step += 1
                sums += (float(causal.detach()), float(diffusion.detach()))
                since += 1
                if self.step % recipe.log_every == 0:
                    now = time.perf_counter()
                    self.seconds += now - begun
                    rate = since * tokens / (now - begun)
                    self.log(
                        causal=sums[0] / since,
                        diffusion=sums[1] / since,
                        tokens_per_second=rate,
                        seconds=self.seconds,
                    )
                    progress.update(
                        bar,
                        completed=self.step,
                        description=f"causal {sums[0] / since:.3f} diffusion {sums[1] / since:.3f} {rate:,.0f} tokens/s",
                    )
                    sums, since, begun = np.zeros(2), 0, now
                if self.step % recipe.held_out_every == 0:
                    held = self.held_out_losses()
                    self.log(held_out_causal=held[0], held_out_diffusion=held[1])
                if self.step % recipe.save_every == 0:
                    self.save()
        self.save()
