"""`palimpsest stats`: show what became of suggestions, from the file on this machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import click

from palimpsest_server.status import rates, tally
from palimpsest_server.status.tally import Event

FORMAT = 1
_BAR = 24
_BLOCKS = " ▏▎▍▌▋▊▉"
_WHAT = {"completion": "Completions", "nextEdit": "Next edits"}
_GROUPS: dict[str, Callable[[Event], str]] = {
    "language": lambda each: each.language or "none",
    "hour": lambda each: f"{each.hour:02}",
    "source": lambda each: f"{each.kind} {each.certainty}".strip() or "unknown",
    "latency": lambda each: f"{each.ms:>5} ms" if each.ms < tally.SLOW_MS else "longer",
}


@click.command("stats", short_help="Show what became of suggestions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--clear", is_flag=True, help="Remove the file.")
@click.option("--replay", is_flag=True, help="Show which next edits would have been held back.")
def command(as_json: bool, clear: bool, replay: bool) -> None:
    """Show how often suggestions were accepted, and kept, by language, hour, source and latency.

    They are counted in a file on this machine, which nothing sends anywhere: numbers and kinds, no code and no path.
    """
    if clear:
        click.echo("the file is removed" if tally.clear() else "there is no file")
        return
    events, damaged = tally.read_with_damage()
    if damaged:
        lines = (
            "1 line of the file cannot be read and is"
            if damaged == 1
            else f"{damaged} lines of the file cannot be read and are"
        )
        click.echo(f"{lines} left out; --clear removes the file", err=True)
    if as_json:
        click.echo(json.dumps(_report(events, damaged)))
    elif not events:
        click.echo("nothing was counted yet: suggestions in editors are, unless palimpsest.statistics is false")
    elif replay:
        _print_replay(events)
    else:
        _print(events)


def _report(events: Sequence[Event], damaged: int) -> dict[str, Any]:
    file, again = tally.place(), rates.replay(events)
    return {
        "format": FORMAT,
        "file": str(file) if file else None,
        "events": len(events),
        "damaged": damaged,
        "outcomes": {what: _outcomes(events, what) for what in _WHAT},
        "rates": {
            what: {
                name: {key: _rate(rate) for key, rate in rates.rates(_of(events, what), by).items()}
                for name, by in _GROUPS.items()
            }
            for what in _WHAT
        },
        "heldBack": [list(kind) for kind in sorted(rates.held_back(events))],
        "replay": {"shown": _rate(again.shown), "heldBack": _rate(again.held)},
    }


def _of(events: Sequence[Event], what: str) -> list[Event]:
    return [each for each in events if each.what == what]


def _outcomes(events: Sequence[Event], what: str) -> dict[str, int]:
    counted = Counter(each.outcome for each in _of(events, what))
    return {name: counted[name] for name in tally.OUTCOMES}


def _rate(rate: rates.Rate) -> dict[str, int]:
    return {"taken": rate.taken, "shown": rate.shown}


def _print(events: Sequence[Event]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for what, title in _WHAT.items():
        own = _of(events, what)
        if not own:
            continue
        taken = sum(each.taken for each in own)
        console.print(f"{title}: {len(own)} shown, {taken} accepted ({taken / len(own):.0%})", style="bold")
        console.print(", ".join(f"{count} {name}" for name, count in _outcomes(events, what).items() if count))
        for name, by in _GROUPS.items():
            table = Table(box=None, pad_edge=False)
            for heading in (name, "accepted", "", "of"):
                table.add_column(heading, justify="right" if heading == "of" else "left")
            for key, rate in rates.rates(own, by).items():
                table.add_row(key, bar(rate.share), f"{rate.share:.0%}", str(rate.shown))
            console.print(table)
        console.print()


def bar(share: float) -> str:
    """Return a bar of blocks for a share from 0 to 1, as wide as all of it."""
    eighths = round(share * _BAR * 8)
    return ("█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()).ljust(_BAR)


def _print_replay(events: Sequence[Event]) -> None:
    edits = len(_of(events, "nextEdit"))
    if edits < rates.ENOUGH:
        click.echo(f"{edits} next edits were counted; nothing is held back before there are {rates.ENOUGH}")
        return
    again = rates.replay(events)
    for name, rate in (("shown", again.shown), ("held back", again.held)):
        click.echo(f"{name}: {rate.shown} next edits, of which {rate.taken} were accepted ({rate.share:.0%})")
    for kind, certainty in sorted(rates.held_back(events)):
        click.echo(f"held back from now on: {kind}, {certainty}")
