"""Tables of figures for a terminal or in Markdown, and the numbers in their cells. Knows nothing of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the heads of the columns, and the cells."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def draw(table: Table) -> None:
    """Print a table on a terminal."""
    from rich.console import Console
    from rich.table import Table as Drawn

    drawn = Drawn(title=table.title, title_justify="left")
    for at, name in enumerate(table.head):
        drawn.add_column(name, justify="right" if at else "left")
    for row in table.rows:
        drawn.add_row(*row)
    Console().print(drawn)


def as_markdown(table: Table, *, titled: bool = True) -> str:
    """Format a table in Markdown, below its title."""
    lines = [
        f"| {' | '.join(table.head)} |",
        "|---" * len(table.head) + "|",
        *(f"| {' | '.join(row)} |" for row in table.rows),
    ]
    return "\n".join([f"**{table.title}**", "", *lines] if titled else lines)


def ms(value: float) -> str:
    """Format milliseconds, long times in seconds."""
    if value >= 10_000:
        return f"{value / 1000:.0f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def spread(percentiles: dict[str, float]) -> str:
    """Format the 50th, 95th and 99th percentile, as far as present."""
    shown: Sequence[str] = [f"{percentiles[p]:.3g}" for p in ("p50", "p95", "p99") if p in percentiles]
    return f"{' / '.join(shown)} ms"


def share(value: float) -> str:
    """Format a share in percent."""
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"


def times(value: float) -> str:
    """Format a ratio."""
    return f"{value:.2f} times" if value < 2 else f"{value:.1f} times"
