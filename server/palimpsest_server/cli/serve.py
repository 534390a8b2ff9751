"""`palimpsest serve`: the language server on standard input and output, or on a loopback port."""

from __future__ import annotations

import click

from palimpsest_server.cli.engines import EngineFactory


@click.command("serve")
@click.option(
    "--tcp", "port", type=click.IntRange(0, 65535), metavar="PORT", help="Serve one client on 127.0.0.1:PORT."
)
@click.option("--stdio", is_flag=True, help="Standard input and output: the default, which many clients ask for.")
@click.pass_context
def command(ctx: click.Context, port: int | None, stdio: bool) -> None:
    """Serve an editor: the language server protocol on standard input and output."""
    if stdio and port is not None:
        raise click.UsageError("--stdio and --tcp exclude each other")
    from palimpsest_server.app import serve

    factory: EngineFactory = ctx.obj
    ctx.exit(serve(factory, tcp_port=port))
