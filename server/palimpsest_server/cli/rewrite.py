"""`palimpsest rewrite`: rewrite lines of a file as an instruction says, and show or write the change; or explain them."""

from __future__ import annotations

from dataclasses import replace

import click

from palimpsest_engine import EngineSettings, Fill, FillRequest, Span
from palimpsest_engine.engine import Quantization
from palimpsest_engine.syntax.grammars import language_of, load
from palimpsest_server.cli import engines, files, patch, places, report, shown
from palimpsest_server.documents import edits
from palimpsest_server.status.visible import visible

EXPLAIN = "Explain what this code does."


@click.command("rewrite", short_help="Rewrite lines of a file as you say.")
@click.argument("path", metavar="FILE")
@click.argument("instruction", default="")
@click.option(
    "--range",
    "stretch",
    required=True,
    callback=places.stretch,
    metavar="A:B",
    help="Rewrite lines A to B. [or L:C-L:C]",
)
@click.option("--write", is_flag=True, help="Write the file, atomically.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a diff.")
@click.option("--watch", is_flag=True, help="Show the replacement while it is written.")
@click.option("--explain", is_flag=True, help="Explain the lines, and change nothing.")
@click.option("--language", metavar="ID", help="Language of the syntax check. [default: by the file name]")
@engines.engine_options
@click.pass_context
def command(
    ctx: click.Context,
    path: str,
    instruction: str,
    stretch: places.Lines | places.Stretch,
    write: bool,
    as_json: bool,
    watch: bool,
    explain: bool,
    language: str | None,
    checkpoint: str | None,
    device: str,
    quantization: Quantization,
) -> None:
    """Rewrite lines of FILE as INSTRUCTION says ("add a docstring"), and show the change as a unified diff.

    With --explain, print an explanation instead; INSTRUCTION is then what you would like to know, or left out.
    It needs a model that was taught to follow instructions. The exit code is 1 if nothing is offered.
    """
    if explain and (write or as_json or watch):
        raise click.UsageError("--explain goes with none of --write, --json and --watch: nothing changes")
    if explain:
        instruction = instruction if instruction.strip() else EXPLAIN
    if not instruction.strip():
        raise click.UsageError('say what to do, such as "add type hints", after FILE')
    file = files.read(path)
    grammar = language_of(path, language)
    if language is not None:
        load(grammar or language)  # a named language without a grammar is an error
    span = _whole_lines(file.text, places.span_of(file.text, stretch))
    request = FillRequest(
        file.text,
        (span,),
        language=language,
        path=path,
        instruction=instruction,
        task="explain" if explain else "rewrite",
        edit=True,
        any_language=True,
    )
    settings = EngineSettings(checkpoint, device, quantization=quantization)
    with engines.opened(ctx.obj, settings) as engine:
        if watch:
            from palimpsest_server.cli.watch import watched  # imports terminal drawing

            fill = watched(engine, request)
        else:
            fill = engines.ask(engine, request)
        told = engine.status()
    if told.reason:
        click.echo(f"palimpsest: {visible(told.reason)}", err=True)
    if explain:
        _print(ctx, fill)
        return
    fill = replace(fill, texts=tuple(edits.with_line_ends_of(file.text, text) for text in fill.texts))
    after = file.text if fill.empty else request.splice(fill.texts)
    written = write and after != file.text
    if written:
        files.write(file, after)
    if as_json:
        changes = () if fill.empty else ((span, fill.texts[0]),)
        click.echo(report.fill_json(file, grammar, told.model, 0, fill, changes, written).encode(), nl=False)
    else:
        shown.diff(report.unified_diff(patch.name_of(path), file.data.decode(), file.bytes_of(after).decode()))
    shown.outcome(path, (file.text[span.start : span.end],), fill, written=written)
    if fill.empty:
        ctx.exit(1)


def _print(ctx: click.Context, fill: Fill) -> None:
    """Print an explanation, or the reason why there is none."""
    if fill.empty:
        click.echo(f"palimpsest: nothing is said: {visible(fill.reason)}", err=True)
        ctx.exit(1)
    click.echo("\n".join(map(visible, fill.texts[0].split("\n"))))


def _whole_lines(text: str, span: Span) -> Span:
    """Return the span with the end of its last line, if it ends there: an instruct model answers with whole lines."""
    line_end = next((end for end in ("\r\n", "\n", "\r") if text.startswith(end, span.end)), "")
    return Span(span.start, span.end + len(line_end)) if span.end > span.start else span
