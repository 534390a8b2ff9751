"""Print which graphics cards a mixture of experts fits, and what to choose on each: `palimpsest doctor --cards`."""

from __future__ import annotations

import dataclasses
import json

import click

from palimpsest_engine import EngineSettings, PalimpsestError, __version__
from palimpsest_engine.checkpoint.memory import gib
from palimpsest_engine.runtime.cards import Card, cards, subject

_HEADS = ("card", "quantization", "context", "needs", "fits, too")
_BELOW = """\
Computed from the shapes, for a card that nothing else uses. Where a screen or another program is on the card, or the context
is short, take the next format to the right."""


def show(settings: EngineSettings, as_json: bool) -> int:
    """Print the choice for each card. Returns the exit code."""
    try:
        name, shapes, fill = subject(settings)
    except PalimpsestError as error:
        if as_json:
            click.echo(json.dumps({"format": 1, "version": __version__, "ok": False, "reason": str(error)}))
        else:
            click.echo(f"palimpsest: {error}", err=True)
        return error.exit_code
    found = cards(shapes, fill)
    if as_json:
        said = [dataclasses.asdict(card) for card in found]
        click.echo(json.dumps({"format": 1, "version": __version__, "ok": True, "model": name, "cards": said}))
        return 0
    click.echo(name)
    rows = [_HEADS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo(_BELOW)
    return 0


def _row(card: Card) -> tuple[str, ...]:
    if card.quantization is None:
        return f"{card.gigabytes} GB", "nothing fits", "", "", ""
    needs, context = gib(card.needed), f"{card.context:,} tokens"
    return f"{card.gigabytes} GB", card.quantization, context, needs, ", ".join(card.smaller)
