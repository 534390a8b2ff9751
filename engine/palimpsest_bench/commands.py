"""Common parts of the commands `python -m palimpsest_bench.NAME`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from palimpsest_engine.errors import PalimpsestError
from palimpsest_server.cli import verdict_on


def one_sentence(command: Callable[..., None]) -> Callable[..., None]:
    """End a command at an error of ours or of the system as `palimpsest` does: with one sentence, and its exit code."""

    @wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (PalimpsestError, OSError) as error:
            sentence, code = verdict_on(error)
            click.echo(f"Error: {sentence}", err=True)
            sys.exit(code)

    return wrapped
