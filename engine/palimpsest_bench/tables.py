"""Makes tables of the figures of `palimpsest bench`. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from palimpsest_bench.table import Table, as_markdown, draw, ms, share, spread, times

MAIN = "What it takes"
KINDS = ("shared", "own")
_MARKS = ("<!-- bench -->", "<!-- /bench -->")  # around the main table in docs/performance.md


def show(figures: dict[str, Any], *, markdown: bool) -> None:
    """Print all tables."""
    if markdown:
        click.echo("\n\n".join(_as_markdown(table) for table in tables(figures)))
        return
    for table in tables(figures):
        draw(table)


def _as_markdown(table: Table) -> str:
    """Format a table in Markdown; the main one without its title, between the marks of docs/performance.md."""
    if table.title != MAIN:
        return as_markdown(table)
    return "\n".join([_MARKS[0], as_markdown(table, titled=False), _MARKS[1]])


def tables(figures: dict[str, Any]) -> Iterator[Table]:
    """Yield the tables that have rows."""
    kinds = (main, steps, contexts, files, windows, next_edits, peers, diffusers, fairness, quantised, failed)
    made = (each(figures) for each in kinds)
    return (table for table in made if table.rows)


def main(figures: dict[str, Any]) -> Table:
    """Make the main table: one figure a row, with the subject in the head."""
    return Table(MAIN, ("figure", subject(figures)), tuple(main_rows(figures)))


def subject(figures: dict[str, Any]) -> str:
    """Name the model and the machine."""
    hardware = figures.get("hardware", {})
    name = hardware.get("model") or figures.get("model") or "the checkpoint"
    if not hardware:
        return f"{name}, {figures['machine']}"
    cpu, gpu = hardware["cpu"], hardware["gpu"]
    cores = "1 core" if cpu["cores"] == 1 else f"{cpu['cores']} cores"
    where = gpu["name"] if gpu else f"{cpu['name']}, {cores}"
    return f"{name}, {where}, {hardware['number_format']}"


def main_rows(f: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the rows of the main table."""
    if "start" in f:
        yield "start of the server to the answer to `initialize`, over a bare pygls server", times(f["start"]["ratio"])
    if "initialize_ms" in f:
        yield "start of the server to the answer to `initialize`", ms(f["initialize_ms"])
        yield "start of the server until the checkpoint is loaded", ms(f["ready_ms"])
        yield "keystroke to the final answer, no pause before asking: median / 95 %", spread(f["keystroke_ms"])
        yield "resident memory of the server", f"{f['memory_mb']:.0f} MB"
    if session := f.get("session"):
        if session["final_ms"]:
            name = "typing at its own pace, last keystroke to the final suggestion: median / 95 / 99 %"
            yield name, spread(session["final_ms"])
        if session["answer_ms"]:
            yield "request to its answer meanwhile: median / 95 / 99 %", spread(session["answer_ms"])
        yield "keystrokes answered before the next one", share(session["answered"])
        if session["nfe"]:
            yield (
                "passes of the model in a fill: median / 95 %",
                f"{session['nfe']['p50']:.0f} / {session['nfe']['p95']:.0f}",
            )
    if "overhead_typing_ms" in f:
        name = "the server's own share, with an engine that takes no time: median / 95 / 99 %"
        yield name, spread(f["overhead_typing_ms"])
    if "socket" in f:
        name = "request over the socket to the engine process, with an engine that takes no time: median / 99 %"
        yield name, spread(f["socket"]["shared_ms"])
    if killed := f.get("windows", {}).get("killed"):
        lost = f"{killed['lost']} lost, {killed['wrong']} wrong, the first after {killed['first_s']:.1f} s"
        yield f"answers in {killed['windows']} windows whose engine process was killed", lost
    if "model_share" in f:
        yield "keystrokes that reach the model", share(f["model_share"]["all"])
    if "reencode_fraction" in f:
        tokens = f["reencoding"]["warm_tokens"] / f["reencoding"]["cold_tokens"]
        name = "encoding after one typed character, over encoding from nothing"
        yield name, f"{share(f['reencode_fraction'])} of the time, {share(tokens)} of the tokens"
    if "left_to_right" in f:
        sizes = f["left_to_right"]["sizes"]
        tokens = " / ".join(str(row["hole_tokens"]) for row in sizes)
        ratios = " / ".join(f"{row['ratio']:.1f}" for row in sizes)
        yield f"diffusion over left to right, same weights, holes of {tokens} tokens", f"{ratios} times"
    if "step_ms" in f:
        yield "a denoising step, whole canvas, batch 1", ms(f["step_ms"])
        yield "that over the least this machine could take", times(f["step_over_floor"])
    if "ratio_over_generate" in f:
        yield "a step of the library's `generate()` over ours", times(f["ratio_over_generate"])
    if f.get("ratio_over_generate_static"):
        yield "the same with its static cache, compiled", times(f["ratio_over_generate_static"])
    if "fill_64_ms" in f:
        context = f["fill_64"]["context"]
        name = f"a hole of 64 tokens, four sizes, ten steps, {context:,} tokens of context"
        yield name, ms(f["fill_64_ms"])
    if f.get("memory_gib"):
        yield "memory of the GPU: loaded / at most", f"{f['memory_loaded_gib']:.1f} / {f['memory_gib']:.1f} GiB"


def steps(f: dict[str, Any]) -> Table:
    """Make the table of denoising steps."""
    ways = {
        "step_ms": "ours",
        "shared_step_ms": "not recorded",
        "plain_step_ms": "prefix copied",
        "generate_step_ms": "generate()",
    }
    rows = f.get("steps", [])
    present = [way for way in ways if any(way in row for row in rows)]
    head = ("context", "canvas", "batch", *(ways[way] for way in present))
    cells = (
        (
            f"{row['context']:,}",
            str(row["canvas"]),
            str(row["batch"]),
            *(ms(row[w]) if w in row else "" for w in present),
        )
        for row in rows
    )
    return Table("A denoising step, by tokens of context and canvas, and by batch", head, tuple(cells))


def contexts(f: dict[str, Any]) -> Table:
    """Make the table by length of the context."""
    rows = [
        (
            f"{point['tokens']:,}",
            ms(point["cold_ms"]),
            ms(point["warm_ms"]),
            share(point["warm_ms"] / point["cold_ms"]),
            ms(point["step_ms"]),
            f"{point['cache_mib']:.1f} MiB",
        )
        for point in f.get("contexts", [])
    ]
    rows += [(f"{int(tokens):,}", why, "", "", "", "") for tokens, why in f.get("contexts_left_out", {}).items()]
    head = ("tokens", "encoded from nothing", "after one character", "share", "a step", "keys and values")
    return Table("A context, by its length", head, tuple(rows))


def files(f: dict[str, Any]) -> Table:
    """Make the table by size of the file."""
    found = f.get("files", {"overhead_ms": [], "keystroke_ms": []})
    real = {row["characters"]: row for row in found["keystroke_ms"]}
    rows = tuple(
        (
            f"{row['characters']:,}",
            f"{row['p50']:.2f} / {row['p95']:.2f} ms",
            spread(real[row["characters"]]) if row["characters"] in real else "",
        )
        for row in found["overhead_ms"]
    )
    head = ("characters", "engine that takes no time: median / 95 %", "the checkpoint: median / 95 %")
    return Table("A keystroke to the final answer, by the size of the file", head, rows)


def windows(f: dict[str, Any]) -> Table:
    """Make the table of windows that share an engine process, or do not."""
    if not (found := f.get("windows")):
        return Table("", (), ())
    rows = [
        (
            str(number + 1),
            *(f"{found[kind]['memory_mb'][number]:.0f} MB, {ms(found[kind]['first_ms'][number])}" for kind in KINDS),
        )
        for number in range(len(found["own"]["memory_mb"]))
    ]
    head = ("windows", "one engine process: memory of all, first suggestion of the last", "an engine each")
    return Table("What a further window costs", head, tuple(rows))


def next_edits(f: dict[str, Any]) -> Table:
    """Make the table of searches for next edits."""
    rows = tuple(
        (f"{row['lines']:,}", row["change"], f"{row['p50']:.1f} / {row['p95']:.1f} ms", str(row["edits"]))
        for row in f.get("next_edits", [])
    )
    head = ("lines", "what was changed", "to the answer: median / 95 %", "edits")
    return Table("What follows from a change, without a model", head, rows)


def peers(f: dict[str, Any]) -> Table:
    """Make the table of alternatives on the same weights."""
    found = f.get("peers")
    if not found:
        return Table("", (), ())
    names = {
        "ours": "Palimpsest",
        "generate": "`generate()`",
        "static": "`generate()`, static cache, compiled",
        "left_to_right": "left to right",
    }
    rate = f["tokens_per_second"]
    rows = [
        (shown, "a token" if name == "left_to_right" else "a step", ms(found[name]), f"{rate[name]:,.0f}")
        for name, shown in names.items()
        if found[name] is not None
    ]
    if found["static"] is None:
        rows.append((names["static"], found["static_reason"], "", ""))
    title = (
        f"The same weights, a canvas of {found['canvas']} tokens in 16 steps, {found['context']:,} tokens of context"
    )
    return Table(title, ("decoder", "", "takes", "tokens a second"), tuple(rows))


def diffusers(f: dict[str, Any]) -> Table:
    """Make the table of pins by the library diffusers."""
    found = f.get("diffusers", {})
    head = ("filled by", "pinned tokens kept", "canvases with all of them", "tokens right", "steps", "a step")
    if "ratio" not in found:
        return Table("Pins by diffusers", head, (("", found["reason"], "", "", "", ""),) if found.get("reason") else ())
    rows = tuple(
        (
            "Palimpsest" if name == "ours" else name.replace("diffusers", f"diffusers {found['version']}"),
            *(f"{100 * row[key]:.1f} %" for key in ("kept", "whole", "right")),
            f"{row['steps']:.1f}",
            ms(found["step_ms"]["ours" if name == "ours" else "diffusers"]),
        )
        for name, row in found["pins"].items()
    )
    return Table(f"{found['holes']} holes in canvases whose other tokens are pinned", head, rows)


def fairness(f: dict[str, Any]) -> Table:
    """Make the table of a quiet client beside those that storm."""
    rows = tuple(
        (
            row["engine"],
            spread(row["alone_ms"]),
            spread(row["beside_ms"]),
            f"{times(row['ratio_p50'])}, {times(row['ratio_p95'])}",
            str(row["fills_before"]),
            str(row["fills_before_eager"]),
        )
        for row in f.get("fairness", [])
    )
    head = (
        "engine",
        "alone: median / 95 %",
        "beside 50: median / 95 %",
        "over alone",
        "fills before its own",
        "if it asks at once",
    )
    return Table("A quiet client of an engine beside 50 that storm", head, rows)


def quantised(f: dict[str, Any]) -> Table:
    """Make the table of errors by format of the experts."""
    found = f.get("quantization_error", {"layers": [], "logits": {}})
    rows = []
    for name, end in found["logits"].items():
        errors = [row[name] for row in found["layers"]]
        shown = (f"{100 * each:.2f} %" for each in (sum(errors) / len(errors), max(errors), end["relative_error"]))
        rows.append((name, *shown, f"{end['kl']:.2g}", share(end["same_argmax"])))
    head = ("format", "error of a layer, mean", "most", "of the logits", "KL, nats", "same token")
    return Table("Experts in other formats, against these", head, tuple(rows))


def failed(f: dict[str, Any]) -> Table:
    """Make the table of parts that failed, with the reasons."""
    missing = f.get("errors", {}) | f.get("steps_failed", {})
    return Table("Not measured", ("part", "why"), tuple(missing.items()))
