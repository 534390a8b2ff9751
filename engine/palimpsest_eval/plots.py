"""Draws tables of results as SVG: rates with their intervals, and rates against time. Needs matplotlib (extra `dev`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palimpsest_engine.errors import PalimpsestError
from palimpsest_eval.report import BOUNDS, Table
from palimpsest_eval.statistics import percentile, wilson
from palimpsest_server.cli.extras import how_to_install

_FLOOR, _SYSTEM = "#999999", "#2b6cb0"


def draw(table: Table, folder: Path) -> list[Path]:
    """Draw both plots of a table. Returns the paths of the files."""
    _ready()
    name = re.sub(r"\W+", "-", table.title.lower()).strip("-")
    made = []
    for kind, plot in (("rates", _rates), ("time", _time)):
        made.append(folder / f"{name}-{kind}.svg")
        _save(plot(table), made[-1])
    return made


def draw_reliability(bins: Sequence[tuple[float, float, int]], path: Path) -> None:
    """Draw how many fills were right against how many were said to be. bins: (said, seen, number)."""
    _ready()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 4.2))
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], color=_FLOOR, linewidth=0.8, linestyle="--")
    for said, seen, count in bins:
        low, high = wilson(round(seen * count), count)
        error = [[100 * max(0.0, seen - low)], [100 * max(0.0, high - seen)]]
        axes.errorbar(100 * said, 100 * seen, yerr=error, fmt="o", capsize=2, color=_SYSTEM)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("said to be right, % (tenths of the fills, by probability)")
    axes.set_ylabel("right, % (95 % Wilson interval)")
    axes.grid(alpha=0.3)
    _save(figure, path)


def _ready() -> None:
    """Set matplotlib up. Raises PalimpsestError without it."""
    try:
        import matplotlib
    except ImportError as error:
        how = how_to_install("matplotlib")
        raise PalimpsestError(f"drawing needs matplotlib: run {how}, or leave it out with --no-plots") from error
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "palimpsest"  # the same results give the same file


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    path.write_text("\n".join(line.rstrip() for line in path.read_text("utf-8").splitlines()) + "\n", "utf-8")


def _what(table: Table) -> str:
    return "pass@1, %" if table.executed else "exact match, %"


def _rate(table: Table, label: str) -> tuple[float, float, float]:
    """Return the rate and its distances to the lower and the upper end of the interval, in percent."""
    known = [bool(right) for row in table.systems[label] if (right := table.right(row)) is not None]
    rate, (low, high) = (sum(known) / len(known) if known else 0.0), wilson(sum(known), len(known))
    return 100 * rate, 100 * max(0.0, rate - low), 100 * max(0.0, high - rate)


def _rates(table: Table) -> Any:
    from matplotlib.figure import Figure

    labels = [label for label in table.systems if label != "truth"][::-1]
    figure = Figure(figsize=(7.2, 0.8 + 0.34 * len(labels)))
    axes = figure.subplots()
    for y, label in enumerate(labels):
        rate, down, up = _rate(table, label)
        colour = _FLOOR if label in BOUNDS else _SYSTEM
        axes.errorbar(rate, y, xerr=[[down], [up]], fmt="o", capsize=3, color=colour)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{_what(table)} (95 % Wilson interval); the ceiling is 100")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _time(table: Table) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.2))
    axes = figure.subplots()
    for label, rows in table.systems.items():
        rate, down, up = _rate(table, label)
        if label in BOUNDS:
            if label != "truth":
                axes.axhline(rate, color=_FLOOR, linewidth=0.8, linestyle="--")
            continue
        ms = percentile([row.ms for row in rows], 50)
        axes.errorbar(ms, rate, yerr=[[down], [up]], fmt="o", capsize=2, label=label)
    axes.set_xlim(left=0, right=1.05 * axes.get_xlim()[1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("milliseconds a fill, median (one process, warm); dashed: floors")
    axes.set_ylabel(f"{_what(table)} (95 % Wilson interval)")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False)
    return figure
