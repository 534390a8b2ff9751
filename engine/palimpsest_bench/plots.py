"""Draws the figures of `palimpsest bench` as curves in SVG. Needs matplotlib (extra `bench`); measures nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from palimpsest_bench.tables import subject
from palimpsest_engine import PalimpsestError
from palimpsest_server.cli.extras import check_installed

_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5")
_PEERS = {
    "ours": "Palimpsest",
    "generate": "generate()",
    "static": "generate(),\nstatic",
    "left_to_right": "left to right",
}


def check() -> None:
    """Raise PalimpsestError if matplotlib is missing."""
    check_installed("--plots", ["matplotlib"])


def draw(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Draw each curve that has data. Returns the paths of the files. The same figures give the same files."""
    made = []
    plots: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
        "contexts": _contexts,
        "steps": _steps,
        "files": _files,
        "peers": _peers,
    }
    for name, plot in plots.items():
        axes, keep = sheet(folder)
        if not plot(axes, figures):
            continue
        axes.set_title(subject(figures), fontsize=8, loc="left")
        made.append(keep(f"bench-{name}"))
    return made


def sheet(folder: Path) -> tuple[Any, Callable[[str], Path]]:
    """Return axes, and a function that saves them under a name. Raises PalimpsestError if the folder cannot be made."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "palimpsest", "svg.fonttype": "none"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PalimpsestError(f"{folder} cannot be written: {error.strerror}") from error
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0))
    axes = figure.subplots()

    def keep(name: str) -> Path:
        axes.grid(alpha=0.3)
        path = folder / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
        path.write_text("\n".join(line.rstrip() for line in path.read_text("utf-8").splitlines()) + "\n", "utf-8")
        return path

    return axes, keep


def line(axes: Any, x: list[float], y: list[float], label: str, colour: int, style: str = "-") -> None:
    """Draw a curve through points."""
    axes.plot(x, y, style, marker="o", markersize=4, label=label, color=_COLOURS[colour % len(_COLOURS)])


def ticks(axes: Any, x: list[float]) -> None:
    """Put ticks at these numbers, written out."""
    axes.set_xticks(x, [f"{int(each):,}" for each in x], rotation=30, fontsize=8)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.minorticks_off()


def _contexts(axes: Any, figures: dict[str, Any]) -> bool:
    points = figures.get("contexts", [])
    if len(points) < 2:
        return False
    x = [point["tokens"] for point in points]
    curves = {"cold_ms": "encoding all of it", "warm_ms": "encoding after one character", "step_ms": "a denoising step"}
    for colour, (key, label) in enumerate(curves.items()):
        line(axes, x, [point[key] for point in points], label, colour)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks(axes, x)
    axes.set_xlabel("tokens of context")
    axes.set_ylabel("milliseconds")
    axes.legend(fontsize=8, frameon=False)
    return True


def _steps(axes: Any, figures: dict[str, Any]) -> bool:
    rows = figures.get("steps", [])
    contexts = sorted({row["context"] for row in rows})
    if not rows:
        return False
    middle = contexts[len(contexts) // 2]
    for colour, batch in enumerate(sorted({row["batch"] for row in rows})):
        mine = sorted(
            (row for row in rows if row["batch"] == batch and row["context"] == middle), key=lambda row: row["canvas"]
        )
        label = "ours, one canvas" if batch == 1 else f"ours, {batch} canvases together"
        line(axes, [row["canvas"] for row in mine], [row["step_ms"] for row in mine], label, colour)
    stock = [row for row in rows if row["context"] == middle and "generate_step_ms" in row]
    for row in stock:
        axes.plot(row["canvas"], row["generate_step_ms"], "s", color="#555555", label="generate(), one canvas")
    if "floor" in figures and stock:
        axes.plot(stock[0]["canvas"], figures["floor"]["floor_ms"], "_", markersize=14, color="#555555", label="floor")
    axes.set_xticks(sorted({row["canvas"] for row in rows}))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"tokens of the canvas, {middle:,} of context")
    axes.set_ylabel("milliseconds a denoising step")
    axes.legend(fontsize=8, frameon=False)
    return True


def _files(axes: Any, figures: dict[str, Any]) -> bool:
    found = figures.get("files", {})
    labels = {"keystroke_ms": "the checkpoint", "overhead_ms": "an engine that takes no time"}
    x: list[float] = []
    for colour, (key, label) in enumerate(labels.items()):
        rows = found.get(key, [])
        if len(rows) < 2:
            continue
        x = [row["characters"] for row in rows]
        line(axes, x, [row["p50"] for row in rows], f"{label}, median", colour)
        line(axes, x, [row["p95"] for row in rows], f"{label}, 95 %", colour, "--")
    if not x:
        return False
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks(axes, x)
    axes.set_xlabel("characters of the file")
    axes.set_ylabel("milliseconds from key to final answer")
    axes.legend(fontsize=8, frameon=False)
    return True


def _peers(axes: Any, figures: dict[str, Any]) -> bool:
    rates = figures.get("tokens_per_second", {})
    present = [name for name in _PEERS if name in rates]
    if not present:
        return False
    colours = [_COLOURS[0] if name == "ours" else "#999999" for name in present]
    bars = axes.bar([_PEERS[name] for name in present], [rates[name] for name in present], color=colours)
    axes.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    axes.set_ylabel("tokens a second, a canvas in 16 steps")
    return True
