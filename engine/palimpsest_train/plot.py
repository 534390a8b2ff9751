"""Draws a run's loss curves."""

from __future__ import annotations

import json
from pathlib import Path


def curves(curve: Path, out: Path) -> None:
    """Training and held-out losses in nats a token against the step, causal and diffusion side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [json.loads(line) for line in curve.read_text("utf-8").splitlines()]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True)
    for axis, name in zip(axes, ("causal", "diffusion"), strict=True):
        train = [(row["step"], row[name]) for row in rows if name in row]
        held = [(row["step"], row[f"held_out_{name}"]) for row in rows if f"held_out_{name}" in row]
        axis.plot(*zip(*train, strict=True), lw=0.8, label="training")
        if held:
            axis.plot(*zip(*held, strict=True), "o-", ms=3, label="held-out packages")
        axis.set(title=f"{name} cross-entropy", xlabel="step", ylabel="nats a token")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(out)
    plt.close(figure)
