"""Runs what `palimpsest bench sizing` was asked for, and formats the figures."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from typing import Any

import click

from palimpsest_bench.sizing import figures, live
from palimpsest_bench.sizing import service as services
from palimpsest_bench.sizing.service import Service
from palimpsest_bench.sizing.simulation import Scenario, simulate
from palimpsest_bench.sizing.tape import tapes
from palimpsest_bench.table import Table, as_markdown, draw, share
from palimpsest_engine import EngineSettings, open_engine
from palimpsest_engine.checkpoint.describe import describe

_STEPS = 10  # of an engine with a fixed time
PREDICTED_SECONDS = 20_000.0


def sizes(
    names: Sequence[str], developers: Sequence[int], scenario: Scenario, aim: figures.Aim, right: float
) -> dict[str, Any]:
    """Simulate each of the service times with each number of developers."""
    found = []
    for name in names:
        service = services.read(name)
        rows = []
        for row in figures.table(developers, scenario, service, tapes(right), aim):
            click.echo(f"palimpsest: {name}: {row['developers']:,} developers, {row['replicas']} engines", err=True)
            rows.append(row)
        known = {key: getattr(service, key) for key in ("model", "machine", "measured", "assumed", "documents")}
        found.append(known | {"name": name, "mean_ms": round(1000 * service.mean, 1), "rows": rows})
    return {
        "aim_share": aim.share,
        "aim_ms": aim.ms,
        "share": scenario.share,
        "right": right,
        "speculate": scenario.speculate,
        "routing": scenario.routing,
        "services": found,
    }


def measured(settings: EngineSettings, fills: int) -> Service:
    """Measure the service time of a model on this machine."""
    languages = tuple(describe(settings).spec.languages)
    engine = open_engine(settings)
    try:
        return live.service_of(engine, tapes(languages=languages), fills, _machine())
    finally:
        engine.close()


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}"


def checks(
    settings: EngineSettings,
    typists: Sequence[int],
    seconds: float,
    fixed_ms: float | None,
    fills: int,
    right: float,
    seed: int,
) -> dict[str, Any]:
    """Let typists ask a real engine, and predict what they see from its service time alone."""
    if fixed_ms is None:
        engine, played = open_engine(settings), tapes(right, tuple(describe(settings).spec.languages))
    else:
        engine, played = live.fixed_engine(_STEPS, fixed_ms / _STEPS / 1000), tapes(right)
    try:
        # Half before and half after, since a machine may become slower or faster meanwhile.
        before = live.service_of(engine, played, fills // 2, _machine()) if fixed_ms is None else None
        seen = {count: live.type_for_real(engine, played, count, seconds, seed) for count in typists}
        after = live.service_of(engine, played, fills // 2, _machine()) if fixed_ms is None else None
    finally:
        engine.close()
    if before is not None and after is not None:
        service = live.both(before, after)
    else:
        assert fixed_ms is not None
        service = Service("an engine that takes a fixed time", _machine(), "", "", (fixed_ms,), fixed_ms / _STEPS)
    rows = []
    for count, record in seen.items():
        scenario = Scenario(count, 1, 1.0, seconds=PREDICTED_SECONDS / count, seed=seed)
        predicted = simulate(scenario, service, played)
        told = {"measured": figures.summary(record, 1), "predicted": figures.summary(predicted, 1)}
        rows.append({"typists": count} | told)
    return {
        "model": service.model,
        "mean_ms": round(1000 * service.mean, 1),
        "step_ms": service.step_ms,
        "cold_ms": service.cold_ms,
        "seconds": seconds,
        "rows": rows,
    }


def show(found: dict[str, Any], *, markdown: bool) -> None:
    """Print the tables."""
    for table in _tables(found):
        if markdown:
            click.echo(as_markdown(table) + "\n")
        else:
            draw(table)


def _tables(found: dict[str, Any]) -> Iterator[Table]:
    for service in found.get("sizing", {}).get("services", ()):
        rows = tuple(_row(row) for row in service["rows"])
        yield Table(f"{service['model']}, {service['machine']}: {service['mean_ms']:.0f} ms a fill", _HEAD, rows)
    if check := found.get("check"):
        rows = tuple(cells for row in check["rows"] for cells in _compared(row))
        yield Table(f"{check['model']}, {check['mean_ms']:.0f} ms a fill, one engine", _CHECK_HEAD, rows)


_HEAD = (
    "developers",
    "engines",
    "waiting: median / 95 / 99 %",
    "answer: median / 95 / 99 %",
    "within 300 ms / 1 s",
    "taken back",
    "answers a minute of typing",
    "at work",
)
_CHECK_HEAD = (
    "typists",
    "",
    "questions",
    "taken back",
    "waiting: median / 95 %",
    "answer: median / 95 %",
    "answered within 300 ms",
)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    if row["replicas"] is None:
        return f"{row['developers']:,}", "no number is enough", "", "", "", "", "", ""
    return (
        f"{row['developers']:,}",
        f"{row['replicas']:,}",
        _spread(row["waiting_ms"]),
        _spread(row["answer_ms"]),
        f"{share(row['within_300'])} / {share(row['within_1000'])}",
        share(row["cancelled"]),
        f"{row['answered_a_minute']:.1f}",
        f"{share(row['utilisation'])} ({share(row['utilisation_ahead'])} ahead)",
    )


def _compared(row: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name in ("measured", "predicted"):
        each = row[name]
        yield (
            str(row["typists"]) if name == "measured" else "",
            name,
            f"{each['asked_a_minute']:.0f} a minute each",
            share(each["cancelled"]),
            _spread(each["waiting_ms"], "p50", "p95"),
            _spread(each["answer_ms"], "p50", "p95"),
            share(each["within_300"]),
        )


def _spread(percentiles: dict[str, float] | None, *which: str) -> str:
    if percentiles is None:
        return ""
    return f"{' / '.join(f'{percentiles[each]:,.0f}' for each in which or ('p50', 'p95', 'p99'))} ms"
