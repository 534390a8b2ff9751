"""Write what became of instructions as a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Sequence

from palimpsest_eval.instruct.measuring import Row
from palimpsest_eval.statistics import wilson

UNCHANGED = "The model would leave everything as it is."
BROKEN = "The answer would have broken the syntax."
_COLUMNS = (
    "cases",
    "right, %",
    "offered, %",
    "unchanged, %",
    "broken, %",
    "changed outside",
    "fences, prose, repetitions",
    "surplus lines: median / mean",
    "p50 / p95, s",
)


def by_part(rows: Sequence[Row], choosing: Collection[tuple[str, str]] = ()) -> Iterator[str]:
    """Yield the lines of the table: all cases, both halves, by language, and by kind.

    choosing: language and name of the cases of the half by which the prompt was chosen.
    """
    yield f"| | {' | '.join(_COLUMNS)} |"
    yield f"|---|{'---|' * len(_COLUMNS)}"
    yield _line("all", rows)
    for name, half in ("chosen by", True), ("held out", False):
        if part := [row for row in rows if choosing and ((row.language, row.name) in choosing) is half]:
            yield _line(name, part)
    for language in dict.fromkeys(row.language for row in rows):
        yield _line(language, [row for row in rows if row.language == language])
    for kind in sorted({row.kind for row in rows}):
        yield _line(kind, [row for row in rows if row.kind == kind])


def _line(name: str, rows: Sequence[Row]) -> str:
    right, offered = sum(row.right for row in rows), sum(row.offered for row in rows)
    low, high = wilson(right, len(rows))
    surplus = [row.surplus for row in rows if row.surplus is not None]
    lines = f"{statistics.median(surplus):g} / {statistics.mean(surplus):.1f}" if surplus else "–"
    times = sorted(row.ms / 1000 for row in rows)
    cells = (
        str(len(rows)),
        f"{100 * right / len(rows):.1f} ({100 * low:.0f}–{100 * high:.0f})",
        f"{100 * offered / len(rows):.0f}",
        f"{100 * sum(row.reason == UNCHANGED for row in rows) / len(rows):.0f}",
        f"{100 * sum(row.reason == BROKEN for row in rows) / len(rows):.0f}",
        str(sum(not row.outside for row in rows)),
        str(sum(row.untidy for row in rows)),
        lines,
        f"{times[len(times) // 2]:.1f} / {times[min(len(times) - 1, int(0.95 * len(times)))]:.1f}",
    )
    return f"| {name} | {' | '.join(cells)} |"
