"""Results of next edits on disk, with everything that produced them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from palimpsest_eval.next_edit.cursortab import Score
from palimpsest_eval.next_edit.measuring import EAGERNESS, Row, rates, times
from palimpsest_eval.next_edit.replaying import Replay, by_eagerness, by_kind
from palimpsest_server.cli import files

FORMAT = 1


def write(out: Path, settings: dict[str, Any], about: dict[str, Any], measured: dict[str, Any]) -> None:
    """Write a results file atomically. measured: what was measured, by name."""
    whole = {"format": FORMAT, "settings": settings, "about": about} | measured
    files.put(out, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def of_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the rates of each eagerness, the times and the rows."""
    median, late = times(rows)
    rated = {name: asdict(rates(rows, name)) for name in EAGERNESS}
    return {"rates": rated, "p50_ms": median, "p95_ms": late, "rows": [row.as_json() for row in rows]}


def of_scores(scores: dict[str, Score]) -> dict[str, Any]:
    """Return the figures of several systems."""
    return {name: asdict(score) for name, score in scores.items()}


def of_replays(rows: Sequence[Replay]) -> dict[str, Any]:
    """Return the counts of the states of commits, and the states in which anything was offered."""
    return {
        "by_eagerness": {name: asdict(each) for name, each in by_eagerness(rows).items()},
        "by_kind": [{"kind": kind, "certainty": how, **asdict(each)} for (kind, how), each in by_kind(rows).items()],
        "rows": [row.as_json() for row in rows if row.offered],
    }
