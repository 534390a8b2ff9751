"""Draws `demo.svg`: the table that `make demo` ends with, as the chosen model fills it.

python docs/images/draw_demo.py
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from palimpsest_engine import EngineSettings, FillRequest, open_engine
from palimpsest_server.cli.engines import opened
from palimpsest_server.cli.holes import holes_in, without_markers
from palimpsest_server.cli.summary import Holes

ROOT = Path(__file__).parents[2]
FILE = ROOT / "fixtures" / "demo" / "statement.py"


def main() -> None:
    """Fill the holes one after the other and draw the table."""
    text = FILE.read_text("utf-8")
    asked, spans = without_markers(text, holes_in(text, "python"))
    with opened(open_engine, EngineSettings()) as engine:
        holes = Holes.one_by_one(engine, FillRequest(asked, spans, path=str(FILE)))
        told = engine.status()
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(f"[bold]$ palimpsest fill {FILE.relative_to(ROOT)} --holes --summary[/bold]\n", highlight=False)
    holes.draw(holes.together().verdict, told, console)
    svg = console.export_svg(title="make demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # no font from the network
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)  # or readers swallow indentation
    svg = svg.replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono")
    Path(__file__).with_name("demo.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
