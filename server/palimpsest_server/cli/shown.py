"""Shows a person what `palimpsest fill` did: the diff, in colour on a terminal, and what became of the file."""

from __future__ import annotations

import sys

import click

from palimpsest_engine import Fill
from palimpsest_server.status.visible import visible

SAME = "the fill is what is there already, so nothing changes"
_HEAD = 2  # lines of a diff that name the files
_STYLES = {"@": "cyan", "+": "green", "-": "red"}


def diff(text: str) -> None:
    """Print a diff, byte for byte; on a terminal in colour and without control characters. NO_COLOR switches colours off."""
    if not sys.stdout.isatty():
        click.echo(text.encode(), nl=False)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else ()):
        console.print(Text(visible(line), "bold" if number < _HEAD else _STYLES.get(line[:1], "")))


def outcome(path: str, old: tuple[str, ...], fill: Fill, *, written: bool) -> None:
    """Say on standard error what no diff shows: that nothing changes, and why, or that the file was written.

    old: the texts of the holes as they were.
    """
    filled = sum(text != before for text, before in zip(fill.texts, old, strict=False))
    if fill.empty:
        said = f"nothing is offered: {fill.reason or 'the model wrote nothing'}"
    elif not filled:
        said = SAME
    elif written:
        said = f"{path} is written, {filled} of {len(old)} holes filled"
    else:
        return
    click.echo(f"palimpsest: {visible(said)}", err=True)
