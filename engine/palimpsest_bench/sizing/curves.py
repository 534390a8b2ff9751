"""Draws the replicas that developers need as an SVG. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest_bench import plots


def draw(sizing: dict[str, Any], folder: Path) -> Path:
    """Draw a curve for each of the service times. Returns the path of the file. The same figures give the same file."""
    axes, keep = plots.sheet(folder)
    for colour, service in enumerate(sizing["services"]):
        rows = [row for row in service["rows"] if row["replicas"]]
        label = f"{service['name']}, {service['mean_ms']:.0f} ms a fill"
        plots.line(axes, [row["developers"] for row in rows], [row["replicas"] for row in rows], label, colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plots.ticks(axes, sorted({row["developers"] for service in sizing["services"] for row in service["rows"]}))
    axes.set_xlabel(f"developers, {100 * sizing['share']:.0f} % of them typing")
    axes.set_ylabel("engines, one fill at a time each")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    axes.set_title(
        f"{100 * sizing['aim_share']:.0f} % of the answers within {sizing['aim_ms']:,.0f} ms", fontsize=8, loc="left"
    )
    return keep("bench-sizing")
