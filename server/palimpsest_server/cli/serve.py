"""`palimpsest serve`: the language server on standard input and output, or on a loopback port."""

from __future__ import annotations

import click

from palimpsest_server.cli.engines import EngineFactory


@click.command("serve")
@click.option(
    "--tcp", "port", type=click.IntRange(0, 65535), metavar="PORT", help="Serve one client on 127.0.0.1:PORT."
)
@click.pass_context
def command(ctx: click.Context, port: int | None) -> None:
    """Serve an editor: the language server protocol on standard input and output."""
    from palimpsest_server.app import serve

    factory: EngineFactory = ctx.obj
    ctx.exit(serve(factory, tcp_port=port))
