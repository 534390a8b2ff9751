"""`palimpsest fill`: fill holes of one file, and show or write the change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from palimpsest_engine import EngineSettings, Fill, FillRequest, LanguageUnknown, Span, Verdict, untrained
from palimpsest_engine.syntax.grammars import language_of, load
from palimpsest_server.cli import engines, files, patch, places, report, shown
from palimpsest_server.cli.holes import holes_in, without_markers
from palimpsest_server.documents import edits
from palimpsest_server.status.visible import visible

if TYPE_CHECKING:
    from palimpsest_server.cli.summary import Holes


@click.command("fill", short_help="Fill holes of a file and show the change.")
@click.argument("path", metavar="FILE")
@click.option("--at", callback=places.place, metavar="LINE:COL", help="Insert here; both count from 1.")
@click.option("--range", "stretch", callback=places.stretch, metavar="A:B", help="Rewrite lines A to B. [or L:C-L:C]")
@click.option("--holes", is_flag=True, help="Fill every <|hole|> and, in Python, every unwritten body.")
@click.option("--write", is_flag=True, help="Write the file, atomically.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a diff.")
@click.option("--watch", is_flag=True, help="Show the drafts while they are written.")
@click.option(
    "--summary", is_flag=True, help="Fill hole by hole, and print a table of them with times instead of a diff."
)
@engines.seed_option
@engines.steps_option
@engines.sizes_option
@engines.strength_option
@click.option("--raw", is_flag=True, help="Show what the model wrote, and do not tidy it as in an editor.")
@click.option("--language", metavar="ID", help="Language of the syntax check. [default: by the file name]")
@click.option("--any-language", is_flag=True, help="Fill it even if the model was not trained on its language.")
@engines.settings_options(engines.endpoint_option, engines.fallback_option)
@click.pass_context
def command(
    ctx: click.Context,
    path: str,
    at: places.Place | None,
    stretch: places.Lines | places.Stretch | None,
    holes: bool,
    write: bool,
    as_json: bool,
    watch: bool,
    summary: bool,
    seed: int,
    steps: int | None,
    sizes: tuple[int, ...] | None,
    strength: float,
    raw: bool,
    language: str | None,
    any_language: bool,
    settings: EngineSettings,
) -> None:
    """Fill holes of FILE and show the change as a unified diff.

    Exactly one of --at, --range and --holes says what to fill. The exit code is 1 if nothing is offered.
    """
    if (at is not None) + (stretch is not None) + holes != 1:
        raise click.UsageError("give exactly one of --at, --range and --holes")
    if summary and as_json:
        raise click.UsageError("give one of --json and --summary")
    file = files.read(path)
    grammar = language_of(path, language)
    if language is not None:
        load(grammar or language)  # a named language without a grammar is an error
    spans = _spans(file, at or stretch, grammar)
    filled: Holes | None = None
    if not spans:
        none = f"there is no hole in {path}; mark one with <|hole|>, or say with --at or --range where to fill"
        fill, model = Fill((), Verdict("not checked", "nothing changes"), none), ""
    else:
        asked, holes_asked = without_markers(file.text, spans)
        request = FillRequest(
            asked,
            holes_asked,
            language=language,
            path=path,
            seed=seed,
            strength=strength,
            sizes=sizes,
            max_steps=steps,
            tidy=not raw and strength == 1.0,
            any_language=any_language,
        )
        with _insisting(), engines.opened(ctx.obj, settings) as engine:
            if summary:
                from palimpsest_server.cli import summary as drawing  # imports terminal drawing

                filled = drawing.Holes.one_by_one(engine, request, watch=watch)
                fill = filled.together()
            elif watch:
                from palimpsest_server.cli.watch import watched  # imports terminal drawing

                fill = watched(engine, request)
            else:
                fill = engines.ask(engine, request)
            told = engine.status()
            model = told.model
        for said in (told.reason, untrained(model, told.languages, language, path)):
            if said:  # for example, that another checkpoint answered
                click.echo(f"palimpsest: {visible(said)}", err=True)
        fill = replace(fill, texts=tuple(edits.with_line_ends_of(file.text, text) for text in fill.texts))

    after = file.text if fill.empty else FillRequest(file.text, spans).splice(fill.texts)
    written = write and after != file.text
    if written:
        files.write(file, after)
    if summary:
        from rich.console import Console

        if filled is not None:
            filled.draw(fill.verdict, told, Console())
    elif as_json:
        changes = () if fill.empty else tuple(zip(spans, fill.texts, strict=True))
        click.echo(report.fill_json(file, grammar, model, seed, fill, changes, written).encode(), nl=False)
    else:
        shown.diff(report.unified_diff(patch.name_of(path), file.data.decode(), file.bytes_of(after).decode()))
    shown.outcome(path, tuple(file.text[span.start : span.end] for span in spans), fill, written=written)
    if fill.empty:
        ctx.exit(1 if spans else 0)


@contextmanager
def _insisting() -> Iterator[None]:
    """Add to the error about a language how to insist."""
    try:
        yield
    except LanguageUnknown as error:
        raise LanguageUnknown(f"nothing is offered: {error}; --any-language fills it all the same") from error


def _spans(
    file: files.TextFile, place: places.Place | places.Lines | places.Stretch | None, grammar: str | None
) -> tuple[Span, ...]:
    """Return the spans to fill: the place, or every hole in the file if no place is given."""
    if place is None:
        return holes_in(file.text, grammar)
    return (places.span_of(file.text, place),)
