"""Tables and plots of results. Knows the rows; runs nothing."""

from __future__ import annotations

from collections.abc import Sequence

from palimpsest_eval.measures import Row
from palimpsest_eval.results import Results
from palimpsest_eval.statistics import percentile, wilson

UNTIMED = ("empty", "pass", "line above", "truth")


def rate(values: Sequence[bool | None]) -> str:
    """`12.3 (10.1–14.9)`: percent of those that apply, with Wilson's interval; a dash if none does."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = wilson(sum(known), len(known))
    return f"{100 * sum(known) / len(known):.1f} ({100 * low:.1f}–{100 * high:.1f})"


def percent(values: Sequence[bool | float | None]) -> str:
    """The mean of those that apply, in percent."""
    known = [value for value in values if value is not None]
    return f"{100 * sum(known) / len(known):.1f}" if known else "–"


COLUMNS = tuple(
    "system|pass@1 % (95 %)|exact % (95 %)|similarity|parse %|before gate %|empty %|NFE|p50 ms|p95 ms".split("|")
)


def line(system: str, rows: Sequence[Row]) -> tuple[str, ...]:
    """A system's row of a table, for `COLUMNS`."""
    timed = system not in UNTIMED
    ms = [row.ms for row in rows]
    candidates, good = sum(row.raw for row in rows), sum(row.raw_parse for row in rows)
    return (
        system,
        rate([row.passed for row in rows]),
        rate([row.exact for row in rows]),
        percent([row.similarity for row in rows]),
        percent([row.parses for row in rows]),
        f"{100 * good / candidates:.1f}" if candidates else "–",
        percent([not row.text for row in rows]),
        f"{sum(row.nfe for row in rows) / len(rows):.1f}" if timed else "–",
        f"{percentile(ms, 50):.0f}" if timed else "–",
        f"{percentile(ms, 95):.0f}" if timed else "–",
    )


def table(lines: Sequence[tuple[str, ...]], columns: Sequence[str] = COLUMNS) -> str:
    """Markdown, without the columns that nothing has."""
    used = [i for i in range(len(columns)) if i == 0 or any(row[i] != "–" for row in lines)]
    head = [columns[i] for i in used]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    out += ["| " + " | ".join(row[i] for i in used) + " |" for row in lines]
    return "\n".join(out)


def summary(results: Results) -> str:
    """What the command prints at its end."""
    return table([line(system, results.of(system)) for system in results.systems])
