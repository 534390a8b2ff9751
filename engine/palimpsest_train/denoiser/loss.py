"""The loss of a step, in pieces that fit the memory, and what is counted on the way. Knows no files and no clock.

Flat cross-entropy at noised slots. Where the frozen base predicts the same token left to right (it has read the clean
middle as context), its distribution is mixed into the target: cross-entropy with a mixture of the truth and the teacher
is cross-entropy plus a Kullback-Leibler divergence, up to a constant.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from palimpsest_train.denoiser.network import Adapter, Context, Network, seen_by
from palimpsest_train.denoiser.recipe import Recipe
from palimpsest_train.denoiser.rows import LOSSES, Batch

PIECE = 2048  # slots whose logits are there at once
BINS = 5  # of the noise


def tensors(batch: Batch, rows: slice, recipe: Recipe, device: torch.device) -> dict[str, Tensor]:
    """Put some rows of a batch on the device."""
    moved = {}
    first, last = rows.start * recipe.canvas, rows.stop * recipe.canvas
    chosen = (batch.at >= first) & (batch.at < last)
    for name in Batch.__slots__:
        array = getattr(batch, name)
        array = array[chosen] if name in LOSSES else array[rows]
        if name == "at":
            array = array - first
        if name == "taught":
            array = array - (array >= 0) * rows.start * recipe.context
        kind = torch.float32 if name in ("weight", "noise") else torch.int64
        moved[name] = torch.from_numpy(array).to(device, kind, non_blocking=True)
    return moved


@dataclass(slots=True)
class Counts:
    """Sums over slots by bin of the noise, `[BINS]` each but the last: slots of text, their loss, how many are right, the
    same of the base where it predicts them left to right, and filler."""

    device: torch.device
    sums: Tensor = field(init=False)

    NAMES = ("slots", "loss", "right", "base slots", "base loss", "base right", "filler", "filler right")

    def __post_init__(self) -> None:
        self.sums = torch.zeros(len(self.NAMES), BINS, dtype=torch.float64, device=self.device)

    def add(self, name: str, bins: Tensor, values: Tensor) -> None:
        """Add values to their bins."""
        self.sums[self.NAMES.index(name)].index_add_(0, bins, values.double())

    def read(self) -> dict[str, float]:
        """Return the means so far, of all and by bin, and start again."""
        table = dict(zip(self.NAMES, self.sums.cpu().tolist(), strict=True))
        self.sums.zero_()

        def mean(of: str, among: str, bins: slice = slice(None)) -> float:
            count = sum(table[among][bins])
            return round(sum(table[of][bins]) / count, 4) if count else 0.0

        found = {"slots": sum(table["slots"])}
        for name, of, among in (
            ("loss", "loss", "slots"),
            ("accuracy", "right", "slots"),
            ("base loss", "base loss", "base slots"),
            ("base accuracy", "base right", "base slots"),
            ("filler accuracy", "filler right", "filler"),
        ):
            found[name] = mean(of, among)
        for i in range(BINS):
            one = slice(i, i + 1)
            found[f"loss {i}"] = mean("loss", "slots", one)
            found[f"accuracy {i}"] = mean("right", "slots", one)
            found[f"base accuracy {i}"] = mean("base right", "base slots", one)
        return found


def forward(network: Network, adapter: Adapter, data: dict[str, Tensor]) -> tuple[Tensor, Context]:
    """Return (hidden states of the slots with a loss `[N, hidden]`, the context)."""
    context = network.context(data["context"])
    bias = seen_by(data["seen"], data["segments"], data["context"].shape[1], network.dtype)
    hidden = network.canvas(data["canvas"], data["positions"], bias, context, adapter)
    return hidden.reshape(-1, hidden.shape[-1])[data["at"]], context


def score(
    network: Network,
    adapter: Adapter,
    hidden: Tensor,
    context: Context,
    data: dict[str, Tensor],
    distil: float,
    counts: Counts,
    total: float | None,
) -> float:
    """Return the weighted loss of the slots; with a total weight to divide by, its gradient goes back through `hidden`."""
    taught_by = context.hidden.reshape(-1, context.hidden.shape[-1])
    cut = hidden.detach().requires_grad_(total is not None)
    summed = torch.zeros((), device=hidden.device)
    for first in range(0, len(cut), PIECE):
        part = slice(first, first + PIECE)
        target, weight, noise, taught = (data[name][part] for name in ("target", "weight", "noise", "taught"))
        with torch.set_grad_enabled(total is not None):
            logs = F.log_softmax(network.logits(cut[part], adapter), -1)
            plain = -logs.gather(1, target[:, None])[:, 0]
            with torch.no_grad():
                teacher = F.log_softmax(network.logits(taught_by[taught.clamp(min=0)], None), -1)
            share = distil * noise * (taught >= 0)
            soft = -(teacher.exp() * logs).sum(-1) if distil else plain
            loss = (weight * ((1 - share) * plain + share * soft)).sum()
        if total is not None:
            torch.autograd.backward(loss / total)
        summed += loss.detach()
        bins = (noise * BINS).long().clamp(max=BINS - 1)
        text = target != adapter.filler
        is_taught = taught >= 0
        right = logs.detach().argmax(-1) == target
        for name, values in (
            ("slots", text),
            ("loss", plain.detach() * text),
            ("right", right & text),
            ("base slots", is_taught),
            ("base loss", -teacher.gather(1, target[:, None])[:, 0] * is_taught),
            ("base right", (teacher.argmax(-1) == target) & is_taught),
            ("filler", ~text),
            ("filler right", right & ~text),
        ):
            counts.add(name, bins, values)
    if total is not None:
        torch.autograd.backward(hidden, cut.grad)
    return float(summed)
