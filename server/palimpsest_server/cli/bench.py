"""`palimpsest bench`: what a keystroke costs on this machine; percentiles, and ratios."""

from __future__ import annotations

import importlib.resources
import json
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from palimpsest_engine import EngineSettings, __version__
from palimpsest_engine.shapes import SHAPES, Shape
from palimpsest_server.cli import engines, stand_ins

_SERVER = (sys.executable, "-m", "palimpsest_server", "serve")
_SCRIPTED_SERVER = stand_ins.command("scripted", script=["value"])
_BIG = 10_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure with: the checkpoint, the document to type into, and whether a first impression will do.

    shape: in `steps`, random weights of that shape in the checkpoint's place.
    """

    settings: EngineSettings
    document: str
    quick: bool
    shape: Shape | None = None


def keystroke(plan: Plan) -> dict[str, Any]:
    """With the checkpoint: from a keystroke to what the user sees."""
    from palimpsest_server.cli import measure

    section = {
        "checkpoint": plan.settings.checkpoint,
        "adapter": plan.settings.adapter,
        "device": plan.settings.device,
    }
    real = measure.observe(_SERVER, section, plan.document, 6 if plan.quick else 40)
    return {
        "model": real.model,
        "device": real.device,
        "initialize_ms": round(real.initialize_ms, 1),
        "ready_ms": round(real.ready_ms, 1),
        "first_answer_ms": measure.percentiles([each.first_answer_ms for each in real.keystrokes]),
        "keystroke_ms": measure.percentiles([each.settled_ms for each in real.keystrokes]),
        "foretold_keystrokes": real.foretold,
        "memory_mb": round(real.memory_mb, 1),
    }


def overhead(plan: Plan) -> dict[str, Any]:
    """The same with an engine that takes no time."""
    from palimpsest_server.cli import measure

    scripted = measure.observe(_SCRIPTED_SERVER, {}, plan.document, 20 if plan.quick else 40)
    figures = measure.percentiles([each.settled_ms for each in scripted.keystrokes])
    return {"server_overhead_ms": figures["p50"], "server_overhead": figures}


def typing(plan: Plan) -> dict[str, Any]:
    """Typing, every keystroke a request that reaches an engine that takes no time."""
    from palimpsest_server.cli import figures

    return {"overhead_typing_ms": figures.typing(plan.document, 1000 if plan.quick else 10_000)}


def along(plan: Plan) -> dict[str, Any]:
    """Typing along a suggestion."""
    from palimpsest_server.cli import figures

    return {"along_ms": figures.along(plan.document, 300 if plan.quick else 2000)}


def share(plan: Plan) -> dict[str, Any]:
    """The sessions at their own pace."""
    from palimpsest_server.cli import figures

    return {"model_share": figures.model_share(100 if plan.quick else None)}


def superseded(plan: Plan) -> dict[str, Any]:
    """Jobs that a keystroke ends."""
    from palimpsest_server.cli import figures

    return {"superseded_steps": figures.superseded_steps(plan.document, 50 if plan.quick else 300)}


def memory(plan: Plan) -> dict[str, Any]:
    """An hour's events."""
    from palimpsest_server.cli import figures

    return {"memory_growth": figures.memory_growth(0.2 if plan.quick else 1.0)}


def big(plan: Plan) -> dict[str, Any]:
    """A file of ten million characters."""
    from palimpsest_server.cli import figures

    return {"big_file_ms": figures.big_file(plan.document, _BIG, 50 if plan.quick else 500)}


def engine(plan: Plan) -> dict[str, Any]:
    """Ratios inside the engine; last, because this brings torch into the process."""
    from palimpsest_engine import measure as inside
    from palimpsest_server.cli import measure

    cursors = measure.cursors(plan.document, 3 if plan.quick else 6)
    reencoding = inside.reencoding(plan.settings, plan.document, cursors[len(cursors) // 2])
    left_to_right = inside.left_to_right(plan.settings, plan.document, cursors)
    return {
        "reencode_fraction": reencoding["fraction"],
        "reencoding": reencoding,
        "ratio_over_left_to_right": left_to_right["ratio"],
        "left_to_right": left_to_right,
    }


def steps(plan: Plan) -> dict[str, Any]:
    """A denoising step by canvas, batch and context, and stock `generate()` beside it."""
    from palimpsest_engine import measure as inside
    from palimpsest_engine.checkpoint import choose, load
    from palimpsest_engine.shapes import random_model

    device, dtype = choose(plan.settings)
    model = random_model(plan.shape, device, dtype) if plan.shape else load(plan.settings).model
    whole, window = model.config.canvas_length, model.config.get_text_config().sliding_window
    contexts = [window // 4, window] if plan.quick else [window // 8, window // 2, window, 2 * window]
    contexts = [
        length for length in contexts if length + whole <= model.config.get_text_config().max_position_embeddings
    ]
    found = inside.steps(model, [whole, whole // 2, whole // 4], [1, 4], contexts, 2 if plan.quick else 7)
    return {"shape": plan.shape, "device": device, "dtype": dtype} | found


PARTS: dict[str, Callable[[Plan], dict[str, Any]]] = {
    part.__name__: part for part in (keystroke, overhead, typing, along, share, superseded, memory, big, engine, steps)
}


@click.command("bench", short_help="Measure what a keystroke costs.")
@click.option("--quick", is_flag=True, help="Fewer keystrokes: a first impression in a minute or two.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(PARTS)), help="Only this part; may be given several times."
)
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    help="With --only steps: random weights of this shape, drawn on the device, in place of a checkpoint.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@engines.engine_options
@engines.adapter_option
def command(
    quick: bool,
    only: tuple[str, ...],
    shape: Shape | None,
    as_json: bool,
    checkpoint: str | None,
    device: str,
    adapter: str | None,
) -> None:
    """Type into documents, with a real server process, and say what it took."""
    if shape and only != ("steps",):
        raise click.UsageError(
            "--shape goes with --only steps: a model of random weights has nothing to say to an editor"
        )
    click.echo("palimpsest: measuring; this takes minutes, and other work on this machine spoils it", err=True)
    figures = measured(EngineSettings(checkpoint, device, adapter=adapter), quick, only or tuple(PARTS), shape)
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        click.echo(f"{name:26}{_shown(value)}")


def measured(settings: EngineSettings, quick: bool, only: Sequence[str], shape: Shape | None = None) -> dict[str, Any]:
    """The figures of these parts, as in `docs/json.md`. Raises PalimpsestError if something cannot be measured."""
    document = importlib.resources.files(__package__).joinpath("bench_document.txt").read_text("utf-8")
    plan = Plan(settings, document, quick, shape)
    figures: dict[str, Any] = {
        "format": 1,
        "version": __version__,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    for name, part in PARTS.items():
        if name in only:
            figures |= part(plan)
    return figures


def _shown(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
        case list():
            return "; ".join(map(_shown, value))
        case float():
            return f"{value:.4g}"
    return str(value)
