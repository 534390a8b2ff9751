"""Write the rates of next edits as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from palimpsest_eval.next_edit import replaying
from palimpsest_eval.next_edit.cursortab import Score
from palimpsest_eval.next_edit.measuring import EAGERNESS, Rates, Row, rates, times
from palimpsest_eval.next_edit.repairing import Repair
from palimpsest_eval.next_edit.replaying import Replay
from palimpsest_eval.statistics import wilson

_COLUMNS = (
    "right first, %",
    "right in the first three, %",
    "right place first, %",
    "shown where nothing is due, %",
    "right when shown, %",
    "sure ones that are right, %",
    "places reached on the way, %",
    "wrong ones on the way",
)
_PARTS = "medium"


def by_eagerness(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table of all cases, an eagerness a line."""
    yield f"| eagerness | {' | '.join(_COLUMNS)} |"
    yield f"|---|{'---|' * len(_COLUMNS)}"
    for name in EAGERNESS:
        yield f"| `{name}` | {' | '.join(_cells(rates(rows, name)))} |"
    yield ""
    median, late = times(rows)
    loud = sum(row.loud for row in rows)
    yield f"In {loud} cases something is due, in {len(rows) - loud} nothing. p50 {median:.1f} ms, p95 {late:.1f} ms."


def by_part(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table of languages, of kinds of change, and of what decides what is due."""
    yield f"| with `{_PARTS}` | cases | {' | '.join(_COLUMNS)} |"
    yield f"|---|---|{'---|' * len(_COLUMNS)}"
    for part in _parts(rows):
        own = [row for row in rows if part in _names(row)]
        yield f"| {part} | {len(own)} | {' | '.join(_cells(rates(own, _PARTS)))} |"


def _parts(rows: Sequence[Row]) -> list[str]:
    """Return the languages in the order of the cases, then the kinds of loud cases, of quiet ones, and what decides."""
    order = [
        *(row.language for row in rows),
        *sorted(_names(row)[1] for row in rows if row.loud),
        *sorted(_names(row)[1] for row in rows if not row.loud),
        *sorted((_names(row)[2] for row in rows), reverse=True),
    ]
    return [each for each in dict.fromkeys(order) if each]


def _names(row: Row) -> tuple[str, str, str]:
    """Return the parts that a row counts to; kinds of quiet cases are marked, as some have the name of a loud one."""
    if row.loud:
        return row.language, row.kind, f"decided by {row.needs}" if row.needs == "syntax" else "needs a model"
    return row.language, f"quiet: {row.kind}", ""


def _cells(found: Rates) -> list[str]:
    counted = (
        found.first,
        found.first_three,
        found.at_place,
        found.shown_in_vain,
        found.right_when_shown,
        found.sure_right,
        found.reached,
    )
    return [*(share(*each) for each in counted), str(found.wrong_on_the_way)]


def share(count: int, total: int) -> str:
    """Return a percentage with Wilson's interval, or a dash."""
    if not total:
        return "–"
    low, high = wilson(count, total)
    return f"{100 * count / total:.1f} ({100 * low:.0f}–{100 * high:.0f})"


def of_scores(scores: dict[str, Score]) -> Iterator[str]:
    """Yield the lines of the table of cursortab's score."""
    yield "| cursortab's scenarios | score | chrF of the changed lines | show rate, % | quiet rate, % |"
    yield "|---|---|---|---|---|"
    for name, each in scores.items():
        yield f"| {name} | {each.score:.3f} | {each.chrf:.1f} | {100 * each.show_rate:.0f} | {100 * each.quiet_rate:.0f} |"


def of_repairs(rows: Sequence[Repair]) -> Iterator[str]:
    """Yield the lines of the table of programs with a wrong token."""
    columns = ("shown", "mended", "as it was", "mended when shown", "shown where nothing is wrong")
    yield f"| eagerness | programs | {' | '.join(f'{each}, %' for each in columns)} |"
    yield f"|---|---|{'---|' * len(columns)}"
    for name in EAGERNESS:
        own = [row for row in rows if row.eagerness == name]
        shown = [row for row in own if row.shown]
        cells = [
            share(len(shown), len(own)),
            share(sum(row.mended for row in own), len(own)),
            share(sum(row.exact for row in own), len(own)),
            share(sum(row.mended for row in shown), len(shown)),
            share(sum(row.in_vain for row in own), len(own)),
        ]
        yield f"| `{name}` | {len(own)} | {' | '.join(cells)} |"


def of_replays(rows: Sequence[Replay]) -> Iterator[str]:
    """Yield the lines of the table of what is shown in the middle of commits, and after their last change."""
    yield "| eagerness | states | shown | right when shown, % | old words gone, % | silent after the last change, % |"
    yield f"|---|{'---|' * 5}"
    for name, each in replaying.by_eagerness(rows).items():
        cells = share(each.right, each.shown), share(each.gone, each.shown), share(each.silent, each.last)
        yield f"| `{name}` | {len(rows)} | {each.shown} | {' | '.join(cells)} |"


def of_kinds(rows: Sequence[Replay]) -> Iterator[str]:
    """Yield the lines of the table of the kinds of edits that are offered in the middle of commits."""
    yield "| kind, certainty | offered | right, % | old words gone, % |"
    yield f"|---|{'---|' * 3}"
    for (kind, certainty), each in replaying.by_kind(rows).items():
        yield f"| {kind}, {certainty} | {each.shown} | {share(each.right, each.shown)} | {share(each.gone, each.shown)} |"
