"""`palimpsest serve`: run the language server on standard input and output, or on a Unix socket."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import click

from palimpsest_engine import Endpoint, Engine, EngineSettings, refuse_relative
from palimpsest_engine.engine import Profile, Quantization
from palimpsest_server.cli import engines
from palimpsest_server.cli.engines import EngineFactory
from palimpsest_server.settings import KEYS, LOG_LEVELS, LogLevel


@click.command("serve", short_help="Serve an editor over standard input and output.")
@click.option(
    "--listen",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Serve one client on a Unix socket of this path, which only you can open.",
)
@click.option("--stdio", is_flag=True, help="Use standard input and output (the default; many clients pass this).")
@click.option(
    "--model",
    "--checkpoint",
    "checkpoint",
    metavar="NAME",
    help="An installed model, a folder or a GGUF file. [default: the setting model]",
)
@click.option(
    "--clientProcessId", "client", type=int, metavar="N", help="End when this process does (some clients pass it)."
)
@engines.adapter_option
@engines.endpoint_option
@click.option("--device", help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--quantization",
    type=click.Choice(get_args(Quantization)),
    help="Number format of a mixture's experts, or of weights on a GPU.",
)
@click.option(
    "--profile",
    type=click.Choice(get_args(Profile)),
    help="Fewer or more denoising steps. [default: the setting profile]",
)
@click.option(
    "--log-level", type=click.Choice(LOG_LEVELS), help="Least severe level to log. [default: the setting logLevel]"
)
@click.option(
    "--log-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Also append the log to this file.",
)
@click.pass_context
def command(
    ctx: click.Context,
    listen: Path | None,
    stdio: bool,
    client: int | None,
    checkpoint: str | None,
    adapter: str | None,
    device: str | None,
    quantization: Quantization | None,
    profile: Profile | None,
    endpoint: Endpoint | None,
    log_level: LogLevel | None,
    log_file: Path | None,
) -> None:
    """Serve an editor: the language server protocol on standard input and output.

    Options given here override the editor's settings.
    """
    if stdio and listen is not None:
        raise click.UsageError("give one of --stdio and --listen")
    if device is not None and not KEYS["device"].accepts(device):
        raise click.BadParameter(f"expected {KEYS['device'].expected}, not {device!r}", param_hint="--device")
    from palimpsest_server.app import serve
    from palimpsest_server.status import log

    log.set_up(log_level, log_file)
    engine = choosing(ctx.obj, checkpoint, adapter, device, quantization, endpoint, profile)
    ctx.exit(serve(engine, listen=listen, client=client))


def choosing(
    factory: EngineFactory,
    checkpoint: str | None,
    adapter: str | None,
    device: str | None,
    quantization: Quantization | None = None,
    endpoint: Endpoint | None = None,
    profile: Profile | None = None,
) -> EngineFactory:
    """Wrap an engine factory so that the choices of the command line override the settings.

    What it opens depends on no working folder: editors start a server in the folder that is being worked on.
    """

    def open_chosen(settings: EngineSettings) -> Engine:
        if checkpoint is not None:
            settings = replace(settings, checkpoint=checkpoint)
        if adapter is not None:
            settings = replace(settings, adapter=adapter)
        if quantization is not None:
            settings = replace(settings, quantization=quantization)
        if profile is not None:
            settings = replace(settings, profile=profile)
        if endpoint is not None:
            settings = replace(settings, endpoint=endpoint)
        if device is not None:
            settings = replace(settings, device=device)
        refuse_relative(settings)
        return factory(settings)

    return open_chosen
