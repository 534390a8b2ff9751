"""`palimpsest bench sizing`: say how many engines so many developers need, or compare the simulation with reality."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from palimpsest_engine import EngineSettings, __version__
from palimpsest_engine.engine import Quantization
from palimpsest_server.cli import engines, files
from palimpsest_server.cli.extras import check_installed

DEVELOPERS = (5, 50, 500, 10_000)
SERVICES = ("embedded-2-cores", "qwen2.5-coder-0.5b-2-cores", "diffusiongemma-26b-h100")


@click.command("sizing", short_help="Say how many engines so many developers need.")
@click.option("--developers", type=click.IntRange(1, 1_000_000), multiple=True, help="How many; may be repeated.")
@click.option("--service", "services", multiple=True, metavar="NAME", help="Times of a fill: a name or a JSON file.")
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=0.2, help="Who is typing at the worst time."
)
@click.option("--aim-share", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95)
@click.option("--aim-ms", type=click.FloatRange(0, min_open=True), default=1000.0, help="The share answered in time.")
@click.option("--right", type=click.FloatRange(0, 1), default=0.3, help="The share of lines that the model knows.")
@click.option("--speculate/--no-speculate", default=True, help="Ask ahead for what follows a suggestion.")
@click.option("--routing", type=click.Choice(("document", "any")), default="document", help="Which engine is asked.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Same seed, same figures.")
@click.option("--check", type=click.IntRange(1, 200), multiple=True, help="Let so many typists ask a real engine here.")
@click.option("--check-seconds", type=click.FloatRange(1), default=120.0, help="For so long.")
@click.option("--fixed-ms", type=click.FloatRange(1), help="The engine of --check takes just this time, and no model.")
@click.option("--measure", metavar="FILE", help="Measure the times of a fill here, and save them for --service.")
@click.option("--fills", type=click.IntRange(12), default=150, help="How many fills --measure and --check time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--output", metavar="FILE", help="Save the JSON in this file, too.")
@click.option("--table", is_flag=True, help="Print Markdown.")
@click.option("--plots", metavar="FOLDER", help="Draw curves as SVG in this folder. Needs matplotlib.")
@engines.engine_options
def command(
    developers: tuple[int, ...],
    services: tuple[str, ...],
    share: float,
    aim_share: float,
    aim_ms: float,
    right: float,
    speculate: bool,
    routing: Any,
    seed: int,
    check: tuple[int, ...],
    check_seconds: float,
    fixed_ms: float | None,
    measure: str | None,
    fills: int,
    as_json: bool,
    output: str | None,
    table: bool,
    plots: str | None,
    checkpoint: str | None,
    device: str,
    quantization: Quantization,
) -> None:
    """Simulate developers who type as in the typing sessions, and say how many engines answer them in time."""
    check_installed("the simulation", ["simpy"])
    if plots:
        from palimpsest_bench import plots as drawing

        drawing.check()
    from palimpsest_bench.sizing import report
    from palimpsest_bench.sizing.figures import Aim
    from palimpsest_bench.sizing.simulation import Scenario

    settings = EngineSettings(checkpoint, device, quantization=quantization)
    if measure:
        service = report.measured(settings, fills)
        files.put(Path(measure), json.dumps(dataclasses.asdict(service)) + "\n")
        click.echo(f"{service.name}: {1000 * service.mean:.0f} ms on average in {service.measured}; see {measure}")
        return
    found: dict[str, Any] = {"format": 1, "version": __version__}
    if check:
        found["check"] = report.checks(settings, check, check_seconds, fixed_ms, fills, right, seed)
    else:
        scenario = Scenario(1, 1, share, speculate=speculate, routing=routing, seed=seed)
        found["sizing"] = report.sizes(
            services or SERVICES, developers or DEVELOPERS, scenario, Aim(aim_share, aim_ms), right
        )
    if output:
        files.put(Path(output), json.dumps(found) + "\n")
    if plots and "sizing" in found:
        from palimpsest_bench.sizing.curves import draw

        click.echo(f"palimpsest: {draw(found['sizing'], Path(plots))}", err=True)
    if as_json:
        click.echo(json.dumps(found))
    else:
        report.show(found, markdown=table)
