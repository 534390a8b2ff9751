"""`palimpsest bench`: what a keystroke costs on this machine; medians with their spread, and ratios."""

from __future__ import annotations

import importlib.resources
import json
import platform
import sys
from typing import Any

import click

from palimpsest_engine import EngineSettings, __version__
from palimpsest_server.cli import engines

_SERVER = (sys.executable, "-m", "palimpsest_server", "serve")
_SCRIPT = (
    "from palimpsest_engine.scripted import ScriptedEngine; from palimpsest_server.cli import main; "
    "main(['serve'], obj=lambda settings: ScriptedEngine(['value']))"
)
_SCRIPTED_SERVER = (sys.executable, "-c", _SCRIPT)


@click.command("bench", short_help="Measure what a keystroke costs.")
@click.option("--quick", is_flag=True, help="Fewer keystrokes: a first impression in a minute or so.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@engines.engine_options
def command(quick: bool, as_json: bool, checkpoint: str | None, device: str) -> None:
    """Type into a document of some 2,000 tokens, with a real server process, and say what it took."""
    click.echo("palimpsest: measuring; this takes minutes, and other work on this machine spoils it", err=True)
    figures = measured(EngineSettings(checkpoint, device), keystrokes=6 if quick else 40)
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        click.echo(f"{name:26}{_shown(value)}")


def measured(settings: EngineSettings, keystrokes: int) -> dict[str, Any]:
    """Every figure, as in `docs/json.md`. Raises PalimpsestError if the checkpoint cannot be used."""
    from palimpsest_server.cli import measure

    document = importlib.resources.files(__package__).joinpath("bench_document.txt").read_text("utf-8")
    section = {"checkpoint": settings.checkpoint, "device": settings.device}
    real = measure.observe(_SERVER, section, document, keystrokes)
    scripted = measure.observe(_SCRIPTED_SERVER, {}, document, max(keystrokes, 20))
    overhead = measure.percentiles([each.settled_ms for each in scripted.keystrokes])

    from palimpsest_engine import measure as inside  # brings torch along, so not while a server is measured

    cursors = measure.cursors(document, max(3, keystrokes // 6))
    reencoding = inside.reencoding(settings, document, cursors[len(cursors) // 2])
    left_to_right = inside.left_to_right(settings, document, cursors)
    return {
        "format": 1,
        "version": __version__,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "model": real.model,
        "device": real.device,
        "initialize_ms": round(real.initialize_ms, 1),
        "ready_ms": round(real.ready_ms, 1),
        "first_answer_ms": measure.percentiles([each.first_answer_ms for each in real.keystrokes]),
        "keystroke_ms": measure.percentiles([each.settled_ms for each in real.keystrokes]),
        "foretold_keystrokes": real.foretold,
        "server_overhead_ms": overhead["p50"],
        "server_overhead": overhead,
        "memory_mb": round(real.memory_mb, 1),
        "reencode_fraction": reencoding["fraction"],
        "reencoding": reencoding,
        "ratio_over_left_to_right": left_to_right["ratio"],
        "left_to_right": left_to_right,
    }


def _shown(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
        case list():
            return "; ".join(map(_shown, value))
        case float():
            return f"{value:.4g}"
    return str(value)
