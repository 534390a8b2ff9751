"""Draws `watch.svg`: what `palimpsest fill --watch` shows, some of its frames one below the other.

python docs/images/draw_watch.py FILE SEED [FRAME ...]
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from palimpsest_engine import Draft, FillRequest, open_engine
from palimpsest_server.cli.holes import MARKER, holes_in
from palimpsest_server.cli.watch import Scene


def main(path: Path, seed: int, frames: list[int]) -> None:
    """Fill the first hole of a file and draw the chosen drafts and the end."""
    text = path.read_text("utf-8")
    hole = holes_in(text, "python")[0]
    if text[hole.start : hole.end] == MARKER:
        text = text[: hole.start] + text[hole.end :]
        hole = type(hole)(hole.start, hole.start)
    request = FillRequest(text, (hole,), path=str(path), seed=seed)
    drafts: list[Draft] = []
    engine = open_engine()
    fill = engine.submit(request, drafts.append).future.result()
    engine.close()
    print(f"{len(drafts)} drafts, {fill.texts[0]!r}, {fill.verdict.status}", file=sys.stderr)
    console = Console(record=True, width=88, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    scene = Scene(request)
    console.print(f"[bold]$ palimpsest fill {path.name} --holes --seed {seed} --watch[/bold]\n", highlight=False)
    for number in frames or range(1, len(drafts) + 1):
        if number <= len(drafts):
            console.print(scene.draw(drafts[number - 1]), "")
    console.print(scene.draw_end(fill))
    svg = console.export_svg(title="palimpsest fill --watch")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # no font from the network
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)  # or readers swallow indentation
    svg = svg.replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono")
    Path(__file__).with_name("watch.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [int(frame) for frame in sys.argv[3:]])
