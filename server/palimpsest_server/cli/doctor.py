"""`palimpsest doctor`: what is wrong here, and what to do about it; the engine does the looking."""

from __future__ import annotations

import dataclasses
import json

import click

from palimpsest_engine import EngineSettings, __version__
from palimpsest_engine.doctor import Check, examine
from palimpsest_server.cli import engines

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command("doctor", short_help="Check this machine and time a fill.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@engines.engine_options
@click.pass_context
def command(ctx: click.Context, as_json: bool, checkpoint: str | None, device: str) -> None:
    """Check everything a fill needs, and time one. The exit code is 0 if all is well, else 1."""
    checks: list[Check] = []
    with engines.opened(ctx.obj, EngineSettings(checkpoint, device)) as engine:
        for check in examine(engine, device):
            checks.append(check)
            if not as_json:
                _show(check)
    well = all(check.status != "error" for check in checks)
    if as_json:
        report = {
            "format": 1,
            "version": __version__,
            "ok": well,
            "checks": [dataclasses.asdict(check) for check in checks],
        }
        click.echo(json.dumps(report))
    else:
        click.echo("all is well" if well else "something is wrong: see the errors above")
    ctx.exit(0 if well else 1)


def _show(check: Check) -> None:
    status = click.style(f"{check.status:8}", _COLOURS[check.status])
    click.echo(f"{status}{check.name:12}{check.found}")
    if check.advice:
        click.echo(f"{'':20}what to do: {check.advice}")
