"""Time the search for next edits in documents of different lengths, by the process that parses. No model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import quantiles
from typing import Any

from palimpsest_engine import follow_ups
from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument

LINES = (100, 1500, 5000)
_BLOCK = '''\
def area_{i}(shape, scale):
    """Return the area of a shape, in squares."""
    width = measure(shape.left, shape.right, scale)
    height = measure(shape.top, shape.bottom, scale)
    depth = measure(shape.front, shape.back, scale)
    if width < 0 or height < 0:
        raise ValueError(f"no shape: {{width}} by {{height}}")
    return width * height


total_{i} = area_{i}(SHAPES[{i}], {i})
'''
# What is changed in the function in the middle. The third leads to nothing.
_CHANGES = {
    "alike lines": (
        "    width = measure(shape.left, shape.right, scale)\n",
        "shape.right, scale",
        "shape.right, scale, UNIT",
    ),
    "parameters": ("def area_{i}(shape, scale):\n", "shape, scale", "scale, shape"),
    "nothing": ('        raise ValueError(f"no shape: {width} by {height}")\n', "no shape", "not a shape"),
}


def by_length(runs: int) -> list[dict[str, Any]]:
    """Return a row for each length and kind of change: the lines, the median and the 95th percentile, the edits offered."""
    return [_row(lines, kind, runs) for lines in LINES for kind in _CHANGES]


def _row(lines: int, kind: str, runs: int) -> dict[str, Any]:
    times, edits = [], 0
    for question in _questions(lines, kind, runs + 1):
        begun = time.perf_counter()
        edits = len(follow_ups(question).edits)
        times.append((time.perf_counter() - begun) * 1000)
    cuts = quantiles(times[1:], n=20, method="inclusive")  # the first one parses all
    return {"lines": lines, "change": kind, "p50": cuts[9], "p95": cuts[18], "edits": edits}


def _questions(lines: int, kind: str, count: int) -> Iterator[NextEditQuestion]:
    """Yield questions about a document that gets a line more each time, so that none is the last one again."""
    blocks = max(2, lines // _BLOCK.count("\n"))
    middle = blocks // 2
    line, old, new = _CHANGES[kind]
    before = line.replace("{i}", str(middle))
    after = before.replace(old, new)
    head = "".join(_BLOCK.format(i=i) for i in range(middle))
    body, tail = _BLOCK.format(i=middle), "".join(_BLOCK.format(i=i) for i in range(middle + 1, blocks))
    text = head + body.replace(before, after) + tail
    start = len(head) + body.index(before)
    for i in range(count):
        document = OpenDocument(f"{kind} of {lines}.py", text + f"x = {i}\n", "python")
        yield NextEditQuestion((document,), (Change(document.name, start, before, after),), start + len(after))
