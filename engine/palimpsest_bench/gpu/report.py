"""Makes Markdown of what `python -m palimpsest_bench.gpu` found, as `docs/performance.md` has it. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from palimpsest_bench.gpu.run import PARTS
from palimpsest_bench.table import Table, as_markdown, ms, share, times

NOT_YET = "not yet measured"
_STEP = {"bfloat16": "step"} | {each: f"step {each}" for each in ("int8", "fp8", "int4", "int4-small")}
_MAPS = ("int8", "fp8", "int4-fine", "int4")  # of left-to-right models
_SHOWN = 12  # kernels of a step


def markdown(found: dict[str, Any]) -> str:
    """Return all tables; the first one has every figure, whether it was measured or not."""
    made = (each(found) for each in (figures, steps, kernels_of_a_step, kernels, maps, parity, failed))
    head = "This was a rehearsal on a CPU: no figure means anything.\n\n" if found.get("rehearsal") else ""
    return head + "\n\n".join(as_markdown(table) for table in made if table.rows)


def rows_of(found: dict[str, Any], part: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a part by their names, those that failed left out."""
    rows = found.get("parts", {}).get(part, {}).get("rows", [])
    return {row["name"]: row for row in rows if "error" not in row}


def noisy(took: dict[str, Any]) -> str:
    """Format a time with its noise."""
    low, high = (f"{took[end]:.3g}" for end in ("low", "high"))
    return f"{took['ms']:.3g} ms ({low} to {high})"


def where(found: dict[str, Any]) -> str:
    """Name the card and the versions."""
    about = rows_of(found, "machine").get("what it is")
    if about is None:
        return "one GPU"
    versions = ", ".join(
        f"{name} {number}" for name, number in about["versions"].items() if name != "python" and number
    )
    gpu = about["gpu"]
    card = gpu["name"] if gpu else about["cpu"]["name"]
    driver = about["driver"].get("driver_version")
    return f"{card}{f', driver {driver}' if driver else ''}, {versions}"


def figures(found: dict[str, Any]) -> Table:
    """Make the main table."""
    return Table("The shape of the 26B on a GPU", ("figure", where(found)), tuple(figure_rows(found)))


def figure_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the rows of the main table."""
    checks = found.get("parts", {}).get("parity", {}).get("rows", [])
    right = sum(bool(row.get("ok")) for row in checks)
    yield "GPU paths that agree with the plain ones", f"{right} of {len(checks)}" if checks else NOT_YET
    for format, part in _STEP.items():
        row = rows_of(found, part).get("step")
        name = f"a step, canvas 256, 1,024 tokens of context, {format}"
        if row is None:
            yield name, NOT_YET
            continue
        ours = row["ways"]["ours"]
        yield (
            name,
            f"{noisy(ours)}, {times(ours['ms'] / row['floor_ms'])} the floor{'' if row['recorded'] else ', no CUDA graph'}",
        )
    for kind, name in (("", "step and generate()"), (", static cache, compiled", "step and generate(), compiled")):
        row = rows_of(found, "step").get(name)
        text = f"a step of `generate()`{kind}, over ours, bfloat16"
        yield text, NOT_YET if row is None else ratio(row["ways"])
    loaded = {format: rows_of(found, part).get("step") for format, part in _STEP.items()}
    memory = [f"{row['most_gib']:.1f}" if row and row["most_gib"] else "–" for row in loaded.values()]
    yield f"memory at most, {' / '.join(_STEP)}", f"{' / '.join(memory)} GiB" if any(loaded.values()) else NOT_YET
    for format in _MAPS:
        token = token_ms(found, format)
        name = f"the linear maps of a token of a 7B, {format}, over torch's own in bfloat16"
        yield name, NOT_YET if token is None else f"{ms(token[0])}, {share(token[0] / token[1])} of the time"


def ratio(ways: dict[str, dict[str, Any]]) -> str:
    """Format the library's step over ours, timed in turns."""
    ours, theirs = ways["ours"], ways["generate"]
    return f"{times(theirs['ms'] / ours['ms'])}: {noisy(theirs)}"


def token_ms(found: dict[str, Any], format: str) -> tuple[float, float] | None:
    """Return the milliseconds of all maps that a token of a 7B goes through, by the kernel and by torch in bfloat16."""
    rows = [row for row in rows_of(found, "left to right").values() if row["format"] == format and row["rows"] == 1]
    if len(rows) < 5:
        return None
    ways = ("kernel", "bfloat16")
    ours, theirs = (sum(row["count"] * row["ways"][way]["ms"] for row in rows) for way in ways)
    return ours, theirs


def steps(found: dict[str, Any]) -> Table:
    """Make the table of the other steps."""
    rows = []
    for part in _STEP.values():
        for row in rows_of(found, part).values():
            if "ways" in row:
                rows += [(part, row["name"], way, noisy(took)) for way, took in row["ways"].items()]
            elif row["name"] == "prefill":
                rows.append((part, row["name"], "ours", noisy(row)))
    return Table("Steps, each group timed in turns", ("part", "measured", "way", "takes"), tuple(rows))


def kernels_of_a_step(found: dict[str, Any]) -> Table:
    """Make the table of what a step is made of, by the profiler."""
    rows = []
    for part in _STEP.values():
        row = rows_of(found, part).get("kernel by kernel")
        if row is None:
            continue
        rows.append((part, "all kernels", ms(row["busy_ms"]), "", share(row["busy_ms"] / row["step_ms"])))
        rows += [
            (part, f"`{each['name'][:60]}`", ms(each["ms"]), f"{each['times']:.0f}", share(each["ms"] / row["step_ms"]))
            for each in row["kernels"][:_SHOWN]
        ]
    return Table("A step, kernel by kernel", ("part", "kernel", "in a step", "times", "share"), tuple(rows))


def kernels(found: dict[str, Any]) -> Table:
    """Make the table of single kernels."""
    rows = tuple(
        (
            name,
            noisy(row),
            f"{row['gb_per_second']:,.0f}",
            times(row["ms"] / row["floor_ms"]),
            f"{row['off']:.2g}" if "off" in row else "",
        )
        for name, row in rows_of(found, "kernels").items()
    )
    return Table("Single kernels at the 26B's sizes", ("kernel", "takes", "GB/s", "over the floor", "off by"), rows)


def maps(found: dict[str, Any]) -> Table:
    """Make the table of linear maps of left-to-right models."""
    rows = tuple(
        (
            name,
            *(noisy(row["ways"][way]) for way in ("kernel", "plain", "bfloat16")),
            f"{row['gb_per_second']:,.0f}",
            f"{row['off']:.2g}",
        )
        for name, row in rows_of(found, "left to right").items()
    )
    head = ("map of a 7B", "kernel", "plain form", "torch, bfloat16", "kernel, GB/s", "off by")
    return Table("Linear maps of left-to-right models", head, rows)


def parity(found: dict[str, Any]) -> Table:
    """Make the table of comparisons."""
    rows = [
        (name, f"{row['off']:.2g}", f"{row['most']:g}", "yes" if row["ok"] else "**no**")
        for name, row in rows_of(found, "parity").items()
    ]
    return Table("GPU paths against the plain ones", ("path", "off by", "allowed", "right"), tuple(rows))


def failed(found: dict[str, Any]) -> Table:
    """Make the table of what failed and why."""
    rows = []
    for part, about in found.get("parts", {}).items():
        rows += [(f"{part}: {row['name']}", row["error"]) for row in about["rows"] if "error" in row]
        if "failed" in about:
            rows.append((part, about["failed"]))
    begun = found.get("parts", {})
    rows += [(part.name, "not begun") for part in PARTS if begun and part.name not in begun]
    return Table("Failed", ("what", "why"), tuple(rows))
