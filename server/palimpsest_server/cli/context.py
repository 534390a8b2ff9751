"""`palimpsest context`: show exactly what the model would see at a place, and the origin of each part."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from palimpsest_engine import EngineSettings, FillRequest
from palimpsest_engine.prompt.preview import Seen, seen
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_server.cli import engines, files, places
from palimpsest_server.context import choose, ignore
from palimpsest_server.context.workspace import Workspace
from palimpsest_server.documents.rope import Text
from palimpsest_server.status.visible import visible

_ROOTS = (".git", ".hg", "pyproject.toml", "package.json", "go.mod", "Cargo.toml")


def _sources(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[choose.Source, ...] | None:
    if value is None:
        return None
    named = choose.SOURCES if value == "all" else tuple(filter(None, value.split(",")))
    if strange := set(named) - set(choose.SOURCES):
        raise click.BadParameter(f"expected all, or some of {','.join(choose.SOURCES)}, not {min(strange)!r}")
    return choose.known(named)


@click.command("context", short_help="Show what the model would see.")
@click.argument("path", metavar="FILE")
@click.option("--at", required=True, callback=places.place, metavar="LINE:COL", help="The cursor; both count from 1.")
@click.option(
    "--sources",
    callback=_sources,
    metavar="A,B",
    help="all, or some of imports, diagnostics, edits, documents. [default: those that help the checkpoint]",
)
@click.option("--open", "opened", multiple=True, metavar="FILE", help="Another document that is open; may be repeated.")
@click.option("--folder", metavar="FOLDER", help="The workspace. [default: the folder above with a .git and the like]")
@click.option(
    "--files",
    "most",
    type=click.IntRange(0, 64),
    default=12,
    show_default=True,
    help="The most other files to look at.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@engines.model_option
def command(
    path: str,
    at: places.Place,
    sources: tuple[choose.Source, ...] | None,
    opened: tuple[str, ...],
    folder: str | None,
    most: int,
    as_json: bool,
    checkpoint: str | None,
) -> None:
    """Print what the model would see for a cursor in FILE.

    First come the excerpts of other places and the reasons for them; then the text that the model reads and the text
    pinned behind the hole, both decoded from the tokens. No weights are loaded and nothing is filled.
    """
    document = _document(path)
    text = str(document.content)
    span = places.span_of(text, at)
    settings, request = EngineSettings(checkpoint), FillRequest(text, (span,), path=path)
    spec = seen(settings, request).spec
    root = os.path.realpath(folder) if folder else _root(document.path)
    ignored = ignore.Ignore((Path(root),))
    question = choose.Question(
        document,
        span.start,
        Workspace((root,), lambda each: ignored.reason(Path(each))),
        choose.known(spec.sources) if sources is None else sources,
        choose.Around(others=tuple(map(_document, opened))),
        choose.Limits(spec.elsewhere, most),
        forbidden=ignored.reason_of,
        secret=ignore.looks_secret,
        redacted=ignore.redacted,
    )
    chosen = choose.choose(question)
    shown = seen(settings, replace(request, context=chosen.excerpts))
    if as_json:
        click.echo(json.dumps(_json(path, chosen, shown)))
    else:
        page = _page(visible(path), at, chosen, shown, ignored.reason(Path(document.path)))
        page = visible(page) if sys.stdout.isatty() else page
        click.echo(page.encode(errors="backslashreplace"), nl=False)


def _document(path: str) -> choose.Document:
    text, real = files.read(path).text, os.path.realpath(path)
    return choose.Document(Path(real).as_uri(), Path(real).as_posix(), language_of(path, None) or "", Text.of(text))


def _root(path: str) -> str:
    """Return the nearest folder above that looks like a project, or else the file's own."""
    above = Path(path).parents
    return str(next((each for each in above if any((each / name).exists() for name in _ROOTS)), above[0]))


def _json(path: str, chosen: choose.Chosen, shown: Seen) -> dict[str, Any]:
    return {
        "format": 1,
        "file": path,
        "model": shown.spec.name,
        "excerpts": [
            {
                "source": each.source,
                "place": each.place,
                "title": each.title,
                "text": each.text,
                "score": round(each.score, 4),
                "why": each.why,
                "fits": _fits(each, shown),
            }
            for each in chosen.choices
        ],
        "left_out": [{"source": each.source, "place": each.place, "why": each.why} for each in chosen.left_out],
        "reads": shown.context,
        "tokens": shown.tokens,
        "most_tokens": shown.spec.context,
        "begins": shown.begins,
        "pins": shown.pins,
    }


def _fits(choice: choose.Choice, shown: Seen) -> bool:
    """Tell whether the excerpt is in the context. The choice used an estimate; the engine counts the tokens."""
    return choice.title in shown.context and choice.text.strip("\n") in shown.context


def _page(path: str, at: places.Place, chosen: choose.Chosen, shown: Seen, refusal: str) -> str:
    lines = [f"{path} {at.line}:{at.column}, as {shown.spec.name} would see it"]
    if refusal:
        lines.append(f"The server would refuse a request here: {refusal}.")
    lines += ["", f"Excerpts of other places: {len(chosen.choices) or 'none'}, the most useful last"]
    if not shown.spec.sources:
        lines.append("  (no source was measured to help this checkpoint, so none is on by default)")
    for each in chosen.choices:
        room = "" if _fits(each, shown) else "; NOT SHOWN: there is no room for it"
        lines.append(f"  {each.source}, {each.title}: {each.why}; score {each.score:.2f}{room}")
        lines += [f"  | {line}" for line in each.text.splitlines()]
    if chosen.left_out:
        lines += ["", "Left out:", *(f"  {each.source}, {each.place}: {each.why}" for each in chosen.left_out)]
    lines += ["", f"The model reads {shown.tokens} of at most {shown.spec.context} tokens:", shown.context]
    if shown.begins:
        lines += ["", f"The fill has to begin with {shown.begins!r}, because the cursor stands inside a token."]
    lines += ["", "Pinned behind the hole:", shown.pins]
    return "\n".join(lines) + "\n"
