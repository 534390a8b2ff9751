"""`palimpsest canvas`: a page that shows a fill at work, on this machine; `canvas record` writes it to a file instead."""

from __future__ import annotations

import threading
import webbrowser

import click

from palimpsest_canvas.recorder import record
from palimpsest_engine import EngineSettings, EngineStatus
from palimpsest_server.cli import engines, extras, places
from palimpsest_server.status.visible import visible

PACKAGES = ("starlette", "uvicorn")
_OPEN = "open"


class _Commands(click.Group):
    """A group whose command `open` need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `open` in front of what is no command."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = [_OPEN, *args]
        return super().parse_args(ctx, args)


@click.group("canvas", cls=_Commands, short_help="Watch a fill at work on a page in the browser, or record it.")
def command() -> None:
    """Watch a fill at work on a page in the browser, change it, or record it to a file.

    `palimpsest canvas FILE` opens the page; `open` need not be written.
    """


@command.command(_OPEN)
@click.argument("path", metavar="[FILE]", required=False)
@click.option("--at", callback=places.place, metavar="LINE:COL", help="Where to insert; both count from 1.")
@click.option("--range", "stretch", callback=places.stretch, metavar="A:B", help="Lines to rewrite. [or L:C-L:C]")
@click.option("--language", metavar="ID", help="Language of FILE. [default: by its name]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port. [default: a free one]")
@click.option("--no-open", is_flag=True, help="Only print the address.")
@engines.settings_options(shared=True)
@click.pass_context
def open_(
    ctx: click.Context,
    path: str | None,
    at: places.Place | None,
    stretch: places.Lines | places.Stretch | None,
    language: str | None,
    port: int,
    no_open: bool,
    settings: EngineSettings,
) -> None:
    """Serve the page until Ctrl-C, to this machine alone, and open it in the browser.

    Without FILE, the page begins with an empty text. Nothing is ever written to FILE.
    """
    extras.check_installed("`palimpsest canvas`", PACKAGES)
    from palimpsest_api.serving import Hooks, listener, serve
    from palimpsest_canvas.app import create
    from palimpsest_canvas.canvas import Canvas
    from palimpsest_canvas.document import CommandLine
    from palimpsest_canvas.door import Keys
    from palimpsest_canvas.models import Models, Opened
    from palimpsest_canvas.opening import document_of
    from palimpsest_server.status import log

    if at is not None and stretch is not None:
        raise click.UsageError("give one of --at and --range")
    if path is None and (at or stretch):
        raise click.UsageError("--at and --range need a FILE")
    document = None if path is None else document_of(path, at or stretch, language)[0]
    log.set_up("warning", None)
    code = 0  # of the model, if it cannot be loaded
    with listener("127.0.0.1", port) as taken, engines.opened(ctx.obj, settings) as engine:
        keys = Keys()
        canvas = Canvas(Models(Opened(engine, settings), ctx.obj), CommandLine(), document)
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/?token={keys.token()}"

        def listening() -> None:
            click.echo(f"palimpsest: the canvas is at {address} , for one browser. Ctrl-C ends it.", err=True)
            if not no_open:
                show(address)

        def loaded(status: EngineStatus) -> bool:
            nonlocal code
            code = (status.exit_code or 1) if status.state == "error" else 0
            said = status.reason if code else f"{status.model} fills, on {status.device}."
            click.echo(visible(f"palimpsest: {said}"), err=True)
            return not code

        serve(create(canvas, keys), taken, None, Hooks(listening, loaded))
    click.echo("palimpsest: ended", err=True)
    ctx.exit(code)


command.add_command(record)


def show(address: str) -> None:
    """Open an address in the browser, on a thread: some browsers keep their caller waiting."""

    def work() -> None:
        if not webbrowser.open(address):
            click.echo("palimpsest: no browser could be opened; open the address yourself.", err=True)

    threading.Thread(target=work, name="palimpsest-browser", daemon=True).start()
