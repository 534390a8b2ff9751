"""The command `palimpsest`: finds the subcommand, and turns errors into one sentence and an exit code.

Each subcommand is a module with a `command`, imported only when it is used: `palimpsest serve` has to answer its client
at once and must not load terminal drawing or tensors. The tools around the product (`bench`, `eval`, `tune`) register
their commands as entry points.
"""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from importlib.metadata import entry_points
from typing import Any

import click

from palimpsest_engine import OutOfMemory, PalimpsestError, __version__, open_engine
from palimpsest_server.status.visible import visible

_COMMANDS = ("fill", "rewrite", "infill", "context", "serve", "engine", "models", "doctor", "stats")
_TOOLS = "palimpsest.commands"  # entry points of the tools, which the product does not know
_INTERRUPTED = 130
_BUG = 70


class _Commands(click.Group):
    """A group that imports a subcommand when it is used, and turns every error into an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(entry_points(group=_TOOLS).names)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
            return command
        for tool in entry_points(group=_TOOLS, name=cmd_name):
            command = tool.load()
            return command
        return None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # click handles these; a reader that closed our output gets no message either
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params["debug"]:
                traceback.print_exc(file=sys.stderr)
            sentence, code = verdict_on(error)
            click.echo(f"palimpsest: {sentence}", err=True)
        if code == _INTERRUPTED:
            from palimpsest_server.protocol.transport import leave

            code = leave(code)  # the model's thread may be inside a step
        ctx.exit(code)


def verdict_on(error: BaseException) -> tuple[str, int]:
    """Return one sentence about an error, and its exit code; `docs/cli.md` lists the codes."""
    match error:
        case PalimpsestError():
            return visible(str(error)), error.exit_code
        case KeyboardInterrupt():
            return "interrupted", _INTERRUPTED
        case MemoryError():
            return "there is not enough memory", OutOfMemory.exit_code
        case OSError() if error.errno is not None:
            what = f"{error.filename}: " if error.filename else ""
            return visible(f"{what}{error.strerror} ({errno.errorcode.get(error.errno, error.errno)})"), 1
        case _:
            fault = f"{type(error).__name__}: {error}".replace("\n", " ")
            return f"this is a bug in palimpsest ({visible(fault)}); `palimpsest --debug` shows where", _BUG


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="palimpsest")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Fill holes in code by diffusion, on this machine."""
    if ctx.obj is None:  # tests pass their own way to open an engine
        ctx.obj = open_engine
