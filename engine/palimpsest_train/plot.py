"""Draw a run's loss curves, and beside them those of its control."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from pathlib import Path

from palimpsest_train.errors import TrainingError
from palimpsest_train.flops import step_flops
from palimpsest_train.state import read_curve, recipes

Series = list[tuple[float, float]]


def spent(run: Path, step: int) -> float:
    """Return the FLOPs of a run's steps up to this one, whatever recipes it was resumed with."""
    parts = recipes(run)
    firsts = [first for first, _ in parts]
    costs = [step_flops(recipe) for _, recipe in parts]
    last = bisect_right(firsts, step) - 1
    whole = sum((b - a) * cost for (a, b), cost in zip(pairwise(firsts[: last + 1]), costs, strict=False))
    return whole + (step - firsts[last]) * costs[last]


def series(run: Path, name: str) -> Series:
    """Return (10^15 FLOPs, nats a token) of one column of a run's curve."""
    return [(spent(run, int(row["step"])) / 1e15, row[name]) for row in read_curve(run) if name in row]


def curves(run: Path, out: Path, control: Path | None = None) -> None:
    """Draw training and held-out losses in nats a token against compute, causal and diffusion side by side; the control, a
    left-to-right run, has a causal loss alone."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    if not read_curve(run):
        raise TrainingError(f"{run} has no curve to draw.")
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True)
    for axis, name in zip(axes, ("causal", "diffusion"), strict=True):
        drawn = [("", run, "C0")]
        if control and name == "causal":
            drawn.append(("left to right, ", control, "C1"))
        for label, folder, colour in drawn:
            if train := series(folder, name):
                axis.plot(*zip(*train, strict=True), lw=0.8, color=colour, alpha=0.6, label=f"{label}training")
            if held := series(folder, f"held_out_{name}"):
                axis.plot(*zip(*held, strict=True), "o-", ms=3, color=colour, label=f"{label}held-out packages")
        axis.set(title=f"{name} cross-entropy", xlabel="10¹⁵ FLOPs", ylabel="nats a token")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(out)
    plt.close(figure)
