"""`palimpsest canvas record`: run a fill without a page, and write one file that plays it."""

from __future__ import annotations

from pathlib import Path

import click

from palimpsest_canvas import recording
from palimpsest_canvas.recording import Beside, Picture, Recording
from palimpsest_canvas.traced import left_to_right, request_of
from palimpsest_engine import Draft, Engine, EngineSettings, FillRequest, PalimpsestError, Span
from palimpsest_server.cli import engines, places
from palimpsest_server.status.visible import visible

_KINDS = (".html", ".svg", ".json")


def _output(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    if value.suffix.lower() not in _KINDS:
        raise click.BadParameter(
            f"expected a name that ends with {', '.join(_KINDS[:-1])} or {_KINDS[-1]}, not {value}"
        )
    return value


@click.command("record")
@click.argument("path", metavar="FILE")
@click.option("--at", callback=places.place, metavar="LINE:COL", help="Where to insert; both count from 1.")
@click.option("--range", "stretch", callback=places.stretch, metavar="A:B", help="Lines to rewrite. [or L:C-L:C]")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_output,
    metavar="OUT",
    help="fill.html plays anywhere, fill.svg is an animated picture, fill.json the recording.",
)
@click.option(
    "--beside/--no-beside",
    default=False,
    show_default=True,
    help="Also write the hole left to right, and show that at the same clock.",
)
@engines.seed_option
@engines.steps_option
@engines.strength_option
@click.option("--temperature", type=click.FloatRange(0, 10), metavar="T", help="Of the sampler. [default: the model's]")
@engines.sizes_option
@click.option("--language", metavar="ID", help="Language of FILE. [default: by its name]")
@engines.settings_options()
@click.pass_context
def record(
    ctx: click.Context,
    path: str,
    at: places.Place | None,
    stretch: places.Lines | places.Stretch | None,
    out: Path,
    beside: bool,
    seed: int,
    steps: int | None,
    strength: float,
    temperature: float | None,
    sizes: tuple[int, ...] | None,
    language: str | None,
    settings: EngineSettings,
) -> None:
    """Fill a hole of FILE and write one file that plays the fill, and needs no server and no model.

    Without --at and --range, the first <|hole|> or, in Python, the first unwritten body is filled. FILE stays as it is.
    """
    from palimpsest_canvas.opening import document_of

    if at is not None and stretch is not None:
        raise click.UsageError("give one of --at and --range")
    document, found = document_of(path, at or stretch, language)
    if not found:
        raise PalimpsestError(f"there is no hole in {path}; say with --at or --range where to fill")
    if not out.parent.is_dir():
        raise PalimpsestError(f"{out} cannot be written: there is no folder {out.parent}")
    request = request_of(
        document.text,
        Span(document.start, document.end),
        name=document.name,
        language=document.language,
        seed=seed,
        strength=strength,
        steps=steps,
        temperature=temperature,
        sizes=sizes,
    )
    with engines.opened(ctx.obj, settings) as engine:
        made = recorded(engine, request, document.name, beside=beside)
    text = written(made, out)
    try:
        out.write_text(
            text, encoding="utf-8", newline="\n"
        )  # with the rights of any new file: it is to be shown around
    except OSError as error:
        raise PalimpsestError(f"{out} cannot be written: {error.strerror}") from error
    for what, end in (("", made.outcome), (" beside it", made.beside and made.beside.outcome)):
        if reason := getattr(end, "reason", ""):
            click.echo(visible(f"palimpsest: nothing is offered{what}: {reason}"), err=True)
    click.echo(visible(f"palimpsest: {out} plays {len(made.frames)} steps of {document.name}"), err=True)


def recorded(engine: Engine, request: FillRequest, name: str, *, beside: bool) -> Recording:
    """Run a fill, and the left-to-right one after it, and return what they showed. Raises the engine's errors."""
    frames, outcome = _run(engine, request)
    told = engine.status()
    other = None
    if beside:
        more, end = _run(engine, left_to_right(request))
        other = Beside(told.model, more, end)
    return Recording(recording.begun(request, name, told.model, told.device), frames, outcome, other)


def written(made: Recording, out: Path) -> str:
    """Return the text of the file that plays a recording, by the ending of its name."""
    match out.suffix.lower():
        case ".json":
            return recording.write(made).decode() + "\n"
        case ".svg":
            from palimpsest_canvas.svg import animated

            return animated(made)
        case _:
            from palimpsest_canvas.page import replay

            return replay(recording.write(made), made.begun.name)


def _run(engine: Engine, request: FillRequest) -> tuple[tuple[Picture, ...], recording.Outcome]:
    frames: list[Picture] = []

    def drafted(draft: Draft) -> None:
        if (found := recording.picture(draft)) is not None:
            if frames and found.ms < frames[-1].ms:
                frames.clear()  # its engine was lost, and it has begun anew
            frames.append(found)

    fill = engines.ask(engine, request, drafted)
    return tuple(frames), recording.outcome(fill)
