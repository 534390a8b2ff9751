"""`palimpsest team`: serve a team from its GPU servers, and say who belongs to the team."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from palimpsest_engine import EngineSettings, PalimpsestError
from palimpsest_server.cli import engines, extras

PORT = 8013
_file = click.Path(dir_okay=False, path_type=Path)


def default_tokens() -> Path:
    """Return where the tokens are kept if nobody says otherwise: among the user's own settings."""
    from platformdirs import user_config_path

    return user_config_path("palimpsest", appauthor=False) / "team-tokens.json"


_tokens_option = click.option(
    "--tokens",
    type=_file,
    envvar="PALIMPSEST_TEAM_TOKENS",
    metavar="FILE",
    help="Where the tokens are. [default: a file among this user's settings]",
)


@click.group("team", short_help="Serve a team from its GPU servers, with Ray Serve.")
def command() -> None:
    """Serve a team: one service, an engine on each GPU, a token for each user."""


@command.group("token")
def token() -> None:
    """Say who may use the service. A running one sees changes at once."""


@token.command("add")
@click.argument("user")
@_tokens_option
def add(user: str, tokens: Path | None) -> None:
    """Make a token for USER and print it. It is shown this once; the file has its SHA-256 only."""
    from palimpsest_team import tokens as kept

    click.echo(kept.add(tokens or default_tokens(), user))


@token.command("revoke")
@click.argument("user")
@_tokens_option
@click.pass_context
def revoke(ctx: click.Context, user: str, tokens: Path | None) -> None:
    """Revoke all tokens of USER, or the one with that id."""
    from palimpsest_team import tokens as kept

    count = kept.revoke(tokens or default_tokens(), user)
    click.echo(f"{count} revoked", err=True)
    ctx.exit(0 if count else 1)


@token.command("list")
@_tokens_option
def list_(tokens: Path | None) -> None:
    """List ids, users and dates."""
    from palimpsest_team import tokens as kept

    for each in kept.read(tokens or default_tokens()):
        click.echo(f"{each.id}  {each.created}  {each.user}")


@command.command("serve")
@click.option("--replicas", default="1", show_default=True, metavar="N|MIN:MAX", help="Engines, or bounds of them.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 for a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; another one needs a certificate.")
@click.option("--certfile", type=_file, metavar="PATH", help="Certificate in PEM, for https.")
@click.option("--keyfile", type=_file, metavar="PATH", help="Its key, if that is in another file.")
@click.option("--plain", is_flag=True, help="Allow another address without a certificate: a proxy has it.")
@_tokens_option
@click.option(
    "--per-minute", type=click.IntRange(1), default=600, show_default=True, help="Requests of a user a minute."
)
@click.option("--at-once", type=click.IntRange(1), default=8, show_default=True, help="Requests of a user at once.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=60.0,
    show_default=True,
    help="For a request, a second try included.",
)
@click.option("--address", metavar="HOST:PORT", help="Join this Ray cluster; auto for the one on this machine.")
@click.option("--deployed", is_flag=True, help="The cluster has the service, or will have it: start none.")
@click.option("--cpus", type=click.IntRange(1), metavar="N", help="CPUs for replicas on this machine. [default: all]")
@engines.settings_options()
def serve(
    replicas: str,
    port: int,
    host: str,
    certfile: Path | None,
    keyfile: Path | None,
    plain: bool,
    tokens: Path | None,
    per_minute: int,
    at_once: int,
    seconds: float,
    address: str | None,
    deployed: bool,
    cpus: int | None,
    settings: EngineSettings,
) -> None:
    """Answer a team's editors and tools until Ctrl-C, with engines on this machine or in a Ray cluster.

    Each replica takes a GPU where there are any. SIGHUP replaces the replicas without losing a request.
    """
    check_installed()
    from palimpsest_api.certificate import context_of
    from palimpsest_api.guard import is_loopback
    from palimpsest_api.serving import listener
    from palimpsest_engine import refuse_relative
    from palimpsest_team import tokens as kept
    from palimpsest_team.door import Door
    from palimpsest_team.options import Deployed, Replicas
    from palimpsest_team.process import Plan
    from palimpsest_team.service import Cluster, Service

    if keyfile is not None and certfile is None:
        raise click.UsageError("--keyfile needs --certfile")
    if not is_loopback(host) and certfile is None and not plain:
        raise click.UsageError(
            f"--host {host} sends code and tokens across the network: use --certfile, or --plain behind a proxy with TLS"
        )
    if address not in (None, "auto") and not address.rpartition(":")[2].isdecimal():
        raise click.UsageError(f"--address is HOST:PORT or auto, not {address!r}")
    if deployed and address is None:
        raise click.UsageError("--deployed needs --address")
    wanted = Replicas.parse(replicas)
    tokens = tokens or default_tokens()
    if not kept.read(tokens):
        raise PalimpsestError(f"{tokens} has no tokens: `palimpsest team token add USER` adds one.")
    tls = None if certfile is None else context_of(certfile, keyfile)
    refuse_relative(settings)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    door = Door(str(tokens.absolute()), per_minute, at_once, seconds)
    plan = Plan(
        Deployed(settings, wanted, **_scripted()),
        door,
        -1,
        "",
        None if certfile is None else str(certfile.absolute()),
        None if keyfile is None else str(keyfile.absolute()),
        "never" if deployed else "missing",
    )
    with listener(host, port) as taken:
        at = taken.getsockname()
        place = f"[{at[0]}]:{at[1]}" if ":" in at[0] else f"{at[0]}:{at[1]}"
        click.echo(f"palimpsest: starting at http{'s' if tls else ''}://{place}", err=True)

        def say(what: str) -> None:
            click.echo(f"palimpsest: {what}", err=True)

        async def run() -> None:
            await Service(plan, Cluster(address, cpus), taken, tls, say).run()

        asyncio.run(run())
    click.echo("palimpsest: ended", err=True)


def _scripted() -> dict[str, Any]:
    """Return what makes the replicas answer from a script, for measuring everything but the model."""
    script: dict[str, Any] = json.loads(os.environ.get("PALIMPSEST_TEAM_SCRIPT", "{}"))
    return script


def check_installed() -> None:
    """Raise PalimpsestError if the packages of the extra are missing."""
    from palimpsest_api.cli import PACKAGES

    if sys.platform == "win32":
        raise PalimpsestError("`palimpsest team serve` runs on Linux and macOS.")
    if find_spec("ray") is None or find_spec("ray.serve") is None:
        raise PalimpsestError(f"`palimpsest team serve` needs ray[serve]: run {extras.how_to_install('ray[serve]')}.")
    extras.check_installed("`palimpsest team serve`", PACKAGES)
