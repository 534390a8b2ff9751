"""The process of one part: `python -m palimpsest_bench.gpu.worker PART` prints a line of JSON for each thing it measures.

`{"begin": NAME}` comes before it, `{"row": {...}}` after it; what fails is a row with an `error`. An error of CUDA leaves
nothing in the process that can be used, so it ends, with the exit code `LOST`; another one can continue behind that name.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

LOST = 3
if "--rehearse" in sys.argv:  # before anything imports triton
    os.environ["TRITON_INTERPRET"] = "1"


def items(part: str, rehearse: bool, until: float) -> tuple[Any, dict[str, Callable[[Any], dict[str, Any]]]]:
    """Return the place, and what a part measures, by name. Imports torch."""
    import torch

    from palimpsest_bench.gpu.place import Place

    place = Place(torch.device("cpu" if rehearse else "cuda:0"))
    if part == "machine":
        from palimpsest_bench.gpu import machine

        return place, machine.items(place)
    if part == "parity":
        from palimpsest_bench.gpu import parity

        return place, parity.checks(place)
    if part.startswith("step"):
        from palimpsest_bench.gpu.steps import Steps

        quantization: Any = part.removeprefix("step").strip() or "none"
        return place, Steps(place, until, quantization).items()
    from palimpsest_bench.gpu import kernels

    return place, {"kernels": kernels.of_a_step, "left to right": kernels.of_a_token}[part](place)


def rows(part: str, rehearse: bool, until: float = float("inf"), after: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the lines of a part, those behind the item `after` if one is named."""
    from palimpsest_bench.failures import sentence

    place, found = items(part, rehearse, until)
    names = list(found)
    for name in names[names.index(after) + 1 if after else 0 :]:
        yield {"begin": name}
        begun = time.monotonic()
        try:
            row = found[name](place)
        except Exception as error:  # the others go on
            row = {"ok": False, "error": sentence(error)}
        yield {"row": {"name": name, **row, "took_s": round(time.monotonic() - begun, 2)}}
        if "error" in row:
            gc.collect()
            free(place)


def free(place: Any) -> None:
    """Free what a failure left on a GPU; raises if nothing can be done there any more."""
    import torch

    if place.on_gpu and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(place.device)
        torch.cuda.empty_cache()


def main() -> int:
    """Print the lines. What else is printed goes to stderr."""
    parser = argparse.ArgumentParser(prog="python -m palimpsest_bench.gpu.worker")
    parser.add_argument("part")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--after")
    parser.add_argument("--rehearse", action="store_true")
    told = parser.parse_args()
    until = time.monotonic() + told.seconds
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        for line in rows(told.part, told.rehearse, until, told.after):
            lines.write(json.dumps(line) + "\n")
            lines.flush()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return LOST
    return 0


if __name__ == "__main__":
    sys.exit(main())
