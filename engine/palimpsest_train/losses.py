"""Compute the losses of one step, by objective, on one device. Knows nothing of schedules, files or progress."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from palimpsest_engine.model.cpu_layers import make_lean
from palimpsest_engine.model.forward import head, soft_embeddings
from palimpsest_train.data import Batch, ContextBatch
from palimpsest_train.model import FUSED, WRITTEN_OUT, causal_forward, packed_forward
from palimpsest_train.recipe import Recipe

IGNORED = -100


def tensors(batch: Batch | ContextBatch, device: str = "cpu") -> dict[str, Tensor]:
    """Return the batch as tensors by field name; on a GPU they arrive while it still computes."""
    arrays = {field.name: torch.from_numpy(getattr(batch, field.name)) for field in fields(batch)}
    if device == "cpu":
        return arrays
    return {name: array.pin_memory().to(device, non_blocking=True) for name, array in arrays.items()}


def cross_entropy(model: Any, hidden: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the weighted mean cross-entropy in nats of hidden states `[N, d]` against `targets [N]`."""
    losses = F.cross_entropy(head(model, hidden), targets, reduction="none")
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()


def picked(hidden: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return (hidden states `[N, d]`, clean tokens `[N]`, weights `[N]`) of the canvas positions with a loss, out of the last
    hidden states `[B, K*c, d]` of canvases."""
    at = batch["at"]
    states = torch.gather(hidden, 1, at[..., None].expand(-1, -1, hidden.shape[-1]))
    return states.flatten(0, 1), torch.gather(batch["clean"], 1, at).flatten(), batch["weight"].flatten()


class Step:
    """One optimisation step's losses; holds the (possibly compiled) passes."""

    def __init__(self, model: Any, recipe: Recipe, device: str = "cpu") -> None:
        self.model, self.recipe, self.device = model, recipe, device
        make_lean(model, trainable=True)
        self.kernels = WRITTEN_OUT if device == "cpu" else FUSED

        def compiled(function: Any) -> Any:
            return torch.compile(function, dynamic=False) if recipe.compile else function

        self.hidden, self.context = compiled(packed_forward), compiled(causal_forward)
        # One for each place: it is compiled for one shape.
        self.causal_loss, self.canvas_loss = compiled(self._loss), compiled(self._loss)

    def autocast(self) -> torch.autocast:
        """Return a context of bfloat16 arithmetic over float32 weights."""
        return torch.autocast(self.device.partition(":")[0], dtype=torch.bfloat16)

    def _loss(self, model: Any, hidden: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Return the `cross_entropy` with the head in bfloat16."""
        with self.autocast():
            return cross_entropy(model, hidden, targets, weight)

    def forward(self, batch: dict[str, Tensor], soft: Tensor) -> Tensor:
        """Return the hidden states of the packed batch in bfloat16 arithmetic."""
        with self.autocast():
            ids, places = (batch["context"], batch["noised"]), (batch["positions"], batch["starts"])
            hidden: Tensor = self.hidden(self.model, *ids, *places, soft, self.kernels)
            return hidden

    def soft_embeddings(self, batch: dict[str, Tensor], temperature: float) -> Tensor:
        """Return the soft embeddings that a denoising step before this one would have given, and the exact ones at pins."""
        shape = self.recipe.row
        with torch.no_grad(), self.autocast():
            embed = self.model.model.decoder.embed_tokens
            zeros = torch.zeros(*batch["noised"].shape, embed.embedding_dim, device=self.device)
            hidden = self.forward(batch, zeros)[:, shape.context :]
            probabilities = torch.softmax(head(self.model, hidden) / temperature, dim=-1)
            soft = soft_embeddings(embed, probabilities)
            return torch.where(batch["is_hole"][..., None], soft, embed(batch["clean"]).float())

    def causal(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of context positions `hidden [B, C, d]` that have a target."""
        flat = targets.flatten()
        known = (flat != IGNORED).float()
        loss: Tensor = self.causal_loss(self.model, hidden.flatten(0, 1), flat.clamp_min(0), known)
        return loss

    def losses(self, batch: dict[str, Tensor], self_condition: bool, temperature: float) -> tuple[Tensor, Tensor]:
        """Return (causal, diffusion) mean cross-entropy in nats a token; the latter is 0 for a left-to-right recipe."""
        if self.recipe.objective == "left-to-right":
            with self.autocast():
                hidden = self.context(self.model, batch["context"], self.kernels)
            causal = self.causal(hidden, batch["targets"])
            return causal, torch.zeros_like(causal)
        shape = self.recipe.row
        soft = torch.zeros(*batch["noised"].shape, self.recipe.shape.hidden, device=self.device)
        if self_condition:
            soft = self.soft_embeddings(batch, temperature)
        hidden = self.forward(batch, soft)
        causal = self.causal(hidden[:, : shape.context], batch["targets"])
        return causal, self.canvas_loss(self.model, *picked(hidden[:, shape.context :], batch))

    def drawn(self, step: int) -> tuple[bool, float]:
        """Return (whether this step conditions on itself, at what temperature), from the run's seed and the step alone."""
        draw = np.random.default_rng((self.recipe.seed, step, 1)).random(2)
        return bool(draw[0] < self.recipe.self_conditioning), 0.5 + 0.5 * float(draw[1])
