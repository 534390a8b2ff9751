"""Tables of results in Markdown, each with its provenance. Knows rows; runs nothing and draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_eval.measures import ResultRow
from palimpsest_eval.results import Results
from palimpsest_eval.statistics import bootstrap, mcnemar, percentile, wilson

BOUNDS = ("empty", "pass", "line above", "truth")
NONE = "–"
START, END = "<!-- results -->", "<!-- /results -->"


@dataclass(frozen=True, slots=True)
class Table:
    """Results of the same problems: rows by label of the system, floors and ceiling once. baseline: a label."""

    title: str
    results: tuple[Results, ...]
    systems: dict[str, list[ResultRow]]
    baseline: str

    @property
    def executed(self) -> bool:
        """Tell whether tests were run; if not, an exact match counts as right."""
        return any(row.passed is not None for rows in self.systems.values() for row in rows)

    def right(self, row: ResultRow) -> bool | None:
        """Tell whether an answer is right by the measure of this table."""
        return row.passed if self.executed else row.exact


def shown(values: Iterable[bool | None]) -> str:
    """Return percent of the values that apply, with Wilson's interval, as `12.3 (10.1–14.9)`; a dash if none applies."""
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    low, high = wilson(sum(known), len(known))
    return f"{100 * sum(known) / len(known):.1f} ({100 * low:.1f}–{100 * high:.1f})"


def percent(values: Iterable[bool | float | None]) -> str:
    """Return the mean of the values that apply, in percent."""
    known = [value for value in values if value is not None]
    return f"{100 * sum(known) / len(known):.1f}" if known else NONE


def before_the_gate(rows: Sequence[ResultRow]) -> str:
    """Return the percentage of all candidates that parse."""
    candidates = sum(row.raw for row in rows)
    return f"{100 * sum(row.raw_parse for row in rows) / candidates:.1f}" if candidates else NONE


def milliseconds(rows: Sequence[ResultRow], at: float) -> str:
    """Return a percentile of the wall-clock times."""
    return f"{percentile([row.ms for row in rows], at):.0f}"


Column = Callable[[Sequence[ResultRow]], str]
QUALITY: dict[str, Column] = {
    "pass@1 %": lambda rows: shown(row.passed for row in rows),
    "exact %": lambda rows: shown(row.exact for row in rows),
    "similarity": lambda rows: percent(row.similarity for row in rows),
    "parse %": lambda rows: percent(row.parses for row in rows),
    "before the gate %": before_the_gate,
    "empty %": lambda rows: percent(not row.text for row in rows),
}
COST: dict[str, Column] = {
    "NFE": lambda rows: f"{sum(row.nfe for row in rows) / len(rows):.1f}",
    "p50 ms": lambda rows: milliseconds(rows, 50),
    "p95 ms": lambda rows: milliseconds(rows, 95),
}
REPAIR: dict[str, Column] = {
    "gate refused all %": lambda rows: percent(row.repair_ms > 0 for row in rows),
    "mended %": lambda rows: percent(row.treatment == "repaired" for row in rows),
    "repair p50 ms": lambda rows: f"{percentile([row.repair_ms for row in rows if row.repair_ms > 0], 50):.0f}",
}


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table, without its empty columns."""
    used = [i for i in range(len(head)) if i == 0 or any(line[i] != NONE for line in lines)]
    rows = [[line[i] for i in used] for line in (head, ["---"] * len(head), *lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def paired(table: Table, label: str) -> tuple[str, str, str]:
    """Compare a system with the baseline, on the problems that both have.

    Returns percentage points with McNemar's p, points of similarity with a 95 % interval, and the ratio of median times.
    """
    if label == table.baseline or label in BOUNDS:
        return (NONE,) * 3
    mine = {(row.task, row.seed): row for row in table.systems[label]}
    pairs = [(mine[key], row) for row in table.systems[table.baseline] if (key := (row.task, row.seed)) in mine]
    if not pairs:
        return (NONE,) * 3
    better = sum(bool(table.right(a)) and not table.right(b) for a, b in pairs)
    worse = sum(bool(table.right(b)) and not table.right(a) for a, b in pairs)
    near = [
        100 * (a.similarity - b.similarity) for a, b in pairs if a.similarity is not None and b.similarity is not None
    ]
    low, high = bootstrap(near)
    slower = percentile([a.ms for a, _ in pairs], 50) / max(percentile([b.ms for _, b in pairs], 50), 1e-9)
    return (
        f"{100 * (better - worse) / len(pairs):+.1f}, p = {mcnemar(better, worse):.2g}",
        f"{sum(near) / len(near):+.1f} ({low:+.1f} to {high:+.1f})" if near else NONE,
        f"{slower:.2f}",
    )


def main_table(table: Table) -> str:
    """Format the table of all systems and all figures."""
    repairs = any(label.startswith("repair: ") for label in table.systems)
    columns = {**QUALITY, **COST, **(REPAIR if repairs else {})}
    against = [f"points over {table.baseline}", "similarity over it", "times its p50"]
    lines = []
    for label, rows in table.systems.items():
        figures = [
            column(rows) if title in QUALITY or label not in BOUNDS else NONE for title, column in columns.items()
        ]
        lines.append([label, *figures, *paired(table, label)])
    return markdown(["system", *columns, *against], lines)


def by_kind(table: Table) -> str:
    """Format the rates by kind of hole; empty if there is only one kind."""
    kinds = list(dict.fromkeys(row.kind for rows in table.systems.values() for row in rows))
    if len(kinds) < 2 or table.results[0].settings["experiment"] == "sweep":
        return ""
    lines = [
        [label, *(shown(table.right(row) for row in rows if row.kind == kind) for kind in kinds)]
        for label, rows in table.systems.items()
    ]
    what = "pass@1" if table.executed else "exact"
    return markdown(["system", *(f"{kind}: {what} %" for kind in kinds)], lines)


def gap(table: Table) -> str:
    """Say what not knowing the length costs: a sentence for each oracle."""
    said = []
    for label in table.systems:
        kind, _, rest = label.partition("chosen length")
        for oracle in table.systems:
            if not kind and label != oracle and oracle.startswith("oracle length") and oracle.endswith(rest):
                known, unknown = ([bool(table.right(row)) for row in table.systems[each]] for each in (oracle, label))
                points = 100 * (sum(known) / len(known) - sum(unknown) / len(unknown))
                said.append(f"{oracle[0].upper()}{oracle[1:]} over {label}: {points:+.1f} points.")
    return " ".join(said)


def tables(results: Sequence[Results], baseline: str | None = None) -> list[Table]:
    """Group results of the same problems into tables, in the given order. Labels name the checkpoint if there are several.

    baseline: the system that others are compared with; by default the first, and `repair: parser` among repairs. Raises
    DataError if there is no such system.
    """
    groups: dict[str, list[Results]] = {}
    for each in results:
        settings = each.settings
        key = repr([settings[name] for name in ("experiment", "data", "problems", "seeds")])
        groups.setdefault(key, []).append(each)
    return [_table(group, baseline) for group in groups.values()]


def _table(group: Sequence[Results], baseline: str | None) -> Table:
    names = [each.settings["checkpoint"]["name"] for each in group]
    systems: dict[str, list[ResultRow]] = {}
    bounds: dict[str, list[ResultRow]] = {}
    for each, name in zip(group, names, strict=True):
        for system in each.systems:
            label = system if len(set(names)) == 1 else f"{system}, {name}"
            if system in BOUNDS:
                bounds.setdefault(system, each.of(system))
            elif label in systems:
                raise DataError(f"two of the results have the system {label}")
            else:
                systems[label] = each.of(system)
    usual = "repair: parser"
    wanted = baseline or (usual if usual in systems else next(iter(systems), ""))
    chosen = [label for label in systems if label == wanted or label.startswith(f"{wanted}, ")]
    if not chosen:
        raise DataError(f"there is no system {wanted} in the results; there are {', '.join(systems)}")
    return Table(title(group[0].settings), tuple(group), systems | bounds, chosen[0])


def title(settings: dict[str, Any]) -> str:
    """Return a heading: the problems and the experiment."""
    name = str(settings["data"]["name"]).removesuffix(".gz").removesuffix(".jsonl")
    what = {"systems": "", "repairs": ": repair at equal wall clock", "sweep": ": sampling settings"}
    seeds = settings["seeds"]
    noise = "" if seeds == [0] else f", seed {seeds[0]}" if len(seeds) == 1 else f", {len(seeds)} seeds"
    return f"{name}, {settings['problems']} problems{noise}{what[settings['experiment']]}"


def provenance(results: Results) -> str:
    """Say in a paragraph how the figures were made: command, commit, checkpoint, machine."""
    checkpoint, machine = results.settings["checkpoint"], results.about["machine"]
    where = machine["gpu"] if checkpoint["device"].startswith("cuda") and machine["gpu"] else machine["cpu"]
    sandbox = (
        f"; programs as {results.about['user']}, off the network by {results.about['network']}"
        if ("user" in results.about)
        else ""
    )
    return (
        f"`{results.about['command']}`, commit {results.settings['commit']}, {results.about['date']}; {checkpoint['name']} "
        f"({checkpoint['parameters'] / 1e6:.1f} M parameters, {checkpoint['dtype']}, weights SHA-256 "
        f"{checkpoint['sha256'][:12]}); {where}, {machine['cores']} cores, threads: {machine['threads']}, torch "
        f"{machine['torch']}{sandbox}."
    )


def section(table: Table, pictures: Sequence[str] = ()) -> str:
    """Format a table with everything about it. pictures: paths relative to the page."""
    parts = [f"### {table.title}", main_table(table), gap(table), by_kind(table)]
    parts += [f"![{table.title}]({picture})" for picture in pictures]
    parts += [provenance(each) for each in table.results]
    return "\n\n".join(part for part in parts if part)


def put_between_marks(page: Path, text: str) -> None:
    """Replace the text between the page's marks; a page that is not there is made. Raises DataError without marks.

    Raises DocumentMissing if there is no such folder.
    """
    try:
        whole = page.read_text("utf-8")
    except FileNotFoundError:
        whole = f"# Evaluation\n\n{START}\n{END}\n"
    except (IsADirectoryError, NotADirectoryError) as error:
        raise DocumentMissing(f"{page} is no page") from error
    if not page.parent.is_dir():
        raise DocumentMissing(f"there is no folder {page.parent}")
    before, start, rest = whole.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise DataError(f"{page} has no {START} ... {END} to put the tables between")
    page.write_text(f"{before}{START}\n{text}\n{END}{after}", "utf-8")
