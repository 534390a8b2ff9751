"""`python -m palimpsest_bench.gpu --output FILE`: what a GPU has to show, within nine minutes. Needs no more than torch,
transformers and what these bring, and no weights."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from palimpsest_bench.gpu import report
from palimpsest_bench.gpu.run import MINUTES, PARTS, missing, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print Markdown. Return 1 if something failed or disagreed, 2 if nothing can be measured here."""
    parser = argparse.ArgumentParser(
        prog="python -m palimpsest_bench.gpu",
        description="Compare every GPU path with the plain one, and time the shape of the 26B, in order of value.",
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="end after so many minutes, whatever is left [9]"
    )
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="save each result there [gpu.json]")
    parser.add_argument(
        "--only", action="append", choices=[part.name for part in PARTS], help="only this part, or these"
    )
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in small, by Triton's interpreter")
    parser.add_argument("--from", dest="source", type=Path, help="measure nothing: print such a file as Markdown")
    told = parser.parse_args(arguments)
    if told.source:
        print(report.markdown(json.loads(told.source.read_text("utf-8"))))
        return 0
    if gone := missing():
        print(f"palimpsest: not installed here: {', '.join(gone)}", file=sys.stderr)
        return 2
    # The process of a part is ended with this one.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    parts = [part for part in PARTS if not told.only or part.name in told.only or part.name == "machine"]

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    found = run(told.minutes, told.rehearse, told.output, say, parts)
    print(report.markdown(found))
    if "parity" not in found["parts"] and len(found["parts"]) < len(parts):
        return 2
    return 1 if report.failed(found).rows or wrong(found) else 0


def wrong(found: dict[str, object]) -> bool:
    """Tell whether a comparison did not hold."""
    return any("**no**" in row for row in report.parity(found).rows)


if __name__ == "__main__":
    sys.exit(main())
