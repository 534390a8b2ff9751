"""`palimpsest api`: answer other tools' questions for a middle over HTTP, on this machine unless told otherwise."""

from __future__ import annotations

from pathlib import Path

import click

from palimpsest_engine import Endpoint, EngineSettings, EngineStatus
from palimpsest_server.cli import engines, extras
from palimpsest_server.settings import LOG_LEVELS, LogLevel
from palimpsest_server.status.visible import visible

PORT = 8012  # where llama.vim and llama.vscode look
PACKAGES = ("starlette", "uvicorn", "prometheus-client")

_file = click.Path(dir_okay=False, path_type=Path)


@click.command("api", short_help="Serve other tools: llama.cpp's /infill and OpenAI's completions.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 for a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; another one needs a token.")
@click.option("--token-file", type=_file, metavar="PATH", help="File with the token that clients have to show.")
@click.option("--certfile", type=_file, metavar="PATH", help="Certificate in PEM, for https.")
@click.option("--keyfile", type=_file, metavar="PATH", help="Its key, if that is in another file.")
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="Name that a proxy in front may send as Host."
)
@engines.settings_options(engines.endpoint_option, engines.fallback_option, shared=True)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="warning",
    show_default=True,
    help="Least severe level to log.",
)
@click.option("--log-file", type=_file, metavar="PATH", help="Also append the log to this file.")
@click.pass_context
def command(
    ctx: click.Context,
    port: int,
    host: str,
    token_file: Path | None,
    certfile: Path | None,
    keyfile: Path | None,
    hosts: tuple[str, ...],
    settings: EngineSettings,
    log_level: LogLevel,
    log_file: Path | None,
) -> None:
    """Answer on a port what llama.cpp's /infill and OpenAI's /v1/completions answer, until Ctrl-C.

    Only this machine can reach it. With a token (--token-file or PALIMPSEST_API_TOKEN), --host may name another address.
    """
    extras.check_installed("`palimpsest api`", PACKAGES)
    from palimpsest_api.app import create
    from palimpsest_api.backend import EngineBackend
    from palimpsest_api.certificate import context_of
    from palimpsest_api.guard import everybody, holders_of, is_loopback
    from palimpsest_api.secret import VARIABLE, secret_of
    from palimpsest_api.serving import Hooks, listener, serve
    from palimpsest_server.status import log

    if keyfile is not None and certfile is None:
        raise click.UsageError("--keyfile needs --certfile")
    here, token = is_loopback(host), secret_of(token_file)
    if not here and token is None:
        raise click.UsageError(f"--host {host} lets others in, so it needs a token: --token-file, or {VARIABLE}")
    tls = None if certfile is None else context_of(certfile, keyfile)
    log.set_up(log_level, log_file)
    with listener(host, port) as taken, engines.opened(ctx.obj, settings) as engine:
        address = taken.getsockname()
        place = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"

        terminal = _Terminal(
            advice(f"http{'s' if tls else ''}://{place}", here, tls is not None, token), settings.endpoint
        )
        app = create(
            EngineBackend(engine),
            recognise=everybody if token is None else holders_of(token),
            hosts=tuple(map(str.lower, hosts)) if here else None,
        )
        serve(app, taken, tls, Hooks(terminal.listening, terminal.loaded))
    click.echo("palimpsest: ended", err=True)
    ctx.exit(terminal.exit_code)


class _Terminal:
    """Tells the user how far the server is. exit_code: of the model that could not be loaded, else 0."""

    def __init__(self, lines: list[str], endpoint: Endpoint | None) -> None:
        self._lines, self._endpoint = lines, endpoint
        self.exit_code = 0

    def listening(self) -> None:
        click.echo("\n".join(self._lines), err=True)

    def loaded(self, status: EngineStatus) -> bool:
        """Say which model answers. Returns whether to go on: a server may yet come up at an endpoint, a model will not."""
        if status.state != "error":
            click.echo(visible(f"palimpsest: {status.model} answers, on {status.device}."), err=True)
            return True
        click.echo(visible(f"palimpsest: {status.reason}"), err=True)
        if self._endpoint is not None:
            return True
        self.exit_code = status.exit_code or 1
        return False


def advice(url: str, here: bool, encrypted: bool, token: str | None) -> list[str]:
    """Return what a user has to know of a server that listens."""
    reach = "on this machine only" if here else "for whoever can reach this machine and has the token"
    lines = [
        f"palimpsest: listening at {url}, {reach}. Ctrl-C ends it.",
        f"  llama.vim    {url}/infill",
        f"  minuet, Zed  {url}/v1/completions",
    ]
    if here and token is None:
        lines.append("  Other users of this machine can use it, too; a token keeps them out.")
    if not here and not encrypted:
        lines.append("  Code and the token cross the network unencrypted: use --certfile, or a proxy with TLS.")
    return lines
