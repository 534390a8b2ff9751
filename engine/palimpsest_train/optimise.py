"""Make optimisers, a learning-rate schedule and the average of the weights. Knows nothing of data or files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from palimpsest_train.recipe import Recipe


def learning_rate(step: int, recipe: Recipe) -> float:
    """Return the learning rate: warm-up, stable, then a linear cool-down to zero over the last `cooldown` share of the
    steps (WSD)."""
    left = (recipe.steps - step) / max(1, int(recipe.cooldown * recipe.steps))
    return recipe.learning_rate * min(1.0, (step + 1) / recipe.warmup, max(0.0, left))


def optimisers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Make the optimisers: Muon for the layers' matrices, AdamW for embeddings, norms, scales and the expert stack."""
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


class Average:
    """Exponential moving average of a model's trained weights; `decay` 0 keeps none.

    The first steps weigh more than `decay` says, so that an average begun at any time forgets where it began.
    """

    def __init__(self, model: Any, decay: float, state: dict[str, Any] | None = None) -> None:
        self.decay, self.steps = decay, 0
        self.live = {name: p for name, p in model.named_parameters() if p.requires_grad} if decay else {}
        self.weights = {name: p.detach().clone() for name, p in self.live.items()}
        if self.live and state:
            self.steps = state["steps"]
            for name, saved in state["weights"].items():
                self.weights[name].copy_(saved)

    def state(self) -> dict[str, Any] | None:
        """Return the `state` for a later average; None if there is none."""
        return {"steps": self.steps, "weights": self.weights} if self.live else None

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        if not self.live:
            return
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.weights.values()), [p.detach() for p in self.live.values()], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model the averaged weights within the block."""
        kept = {name: p.detach().clone() for name, p in self.live.items()}
        self._write(self.weights)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.live.items():
            parameter.copy_(weights[name])
