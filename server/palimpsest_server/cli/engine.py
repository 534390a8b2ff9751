"""`palimpsest engine`: own the model for all editor windows of this user, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import click
import msgspec

from palimpsest_engine import PalimpsestError, __version__, open_engine
from palimpsest_engine.shared import starting
from palimpsest_engine.shared.address import place
from palimpsest_engine.shared.host import IDLE_SECONDS, Host
from palimpsest_engine.shared.starting import Taken, holding
from palimpsest_server.settings import LOG_LEVELS, LogLevel


@click.command("engine", short_help="Run the one engine that all editor windows share.")
@click.option(
    "--idle",
    type=click.FloatRange(min=0),
    default=IDLE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="End when no editor has been there for so long.",
)
@click.option("--status", "show", is_flag=True, help="Show what the running one does, and start nothing.")
@click.option("--stop", is_flag=True, help="End the running one, after the requests under way.")
@click.option("--json", "as_json", is_flag=True, help="Write the status as JSON.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="warning", help="Least severe level to log.")
@click.pass_context
def command(ctx: click.Context, idle: float, show: bool, stop: bool, as_json: bool, log_level: LogLevel) -> None:
    """Own the model for all editor windows, and wait for them on a socket that only you can open.

    Servers start this by themselves when they need it (the setting engine), and it ends by itself.
    """
    if show and stop:
        raise click.UsageError("give one of --status and --stop")
    if show:
        ctx.exit(_show(as_json))
    if stop:
        there = asyncio.run(starting.retire(place(), "The user has stopped the engine process."))
        click.echo("The engine process ends." if there else "No engine process runs.")
        ctx.exit(0 if there else 1)
    _serve(idle, log_level)


def _serve(idle: float, log_level: LogLevel) -> NoReturn:
    from palimpsest_server.status import log

    log.set_up(log_level)
    where = place()
    host = Host(open_engine, idle, __version__)
    try:
        with holding(where) as leave:
            asyncio.run(_until_ended(host, leave))
    except Taken as error:
        # Two windows that open at once start one each; the second has nothing to do.
        click.echo(f"palimpsest: {error}", err=True)
        sys.exit(0)
    except OSError as error:
        raise PalimpsestError(f"The engine process cannot listen on {where.address}: {error.strerror}.") from None
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a thread of a model may be in the middle of a step, and ends with the process


async def _until_ended(host: Host, leave: Callable[[], None]) -> None:
    heed_signals(asyncio.get_running_loop(), lambda: host.retire("The engine process was ended."))
    await host.serve(place(), leave)


def heed_signals(loop: asyncio.AbstractEventLoop, end: Callable[[], object]) -> None:
    """Call `end` on the loop for every signal that asks a process to end, of those that this system has."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):
        if (number := getattr(signal, name, None)) is None:
            continue
        try:
            loop.add_signal_handler(number, end)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(end))


def _show(as_json: bool) -> int:
    report = asyncio.run(starting.report(place()))
    if as_json:
        click.echo(json.dumps(None if report is None else msgspec.to_builtins(msgspec.structs.asdict(report))))
    elif report is None:
        click.echo("No engine process runs.")
    else:
        minutes = int(report.seconds // 60)
        click.echo(f"Engine process {report.pid}, Palimpsest {report.version}, for {minutes} min.")
        for engine in report.engines:
            told = engine.status
            what = ", ".join(part for part in (told.model or "no model yet", told.device, told.state) if part)
            click.echo(f"  {what}: {_count(engine.windows, 'window')}, {_count(engine.requests, 'request')} under way")
            if told.reason:
                click.echo(f"    {told.reason}")
    return 1 if report is None else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
