"""`python -m palimpsest_bench.coder FILE.gguf`: a left-to-right model in our engine and in llama.cpp, in turns, in one run.

Both read the same prompt of Python and write as many tokens. The figures are of the model alone: nothing of HTTP is in them.
Needs the extra `llama`, or `llama-server` on the PATH.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import click
import httpx

from palimpsest_bench.commands import one_sentence
from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_engine.decoding.autoregressive import write
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_server.cli import serve_model

_SECONDS = 120.0


def ours(checkpoint: Checkpoint, prompt: Sequence[int], count: int) -> dict[str, float]:
    """Return tokens a second of a cold prompt and of writing, and milliseconds of reading one token more."""
    import torch

    model, cache = checkpoint.model, PrefixCache(checkpoint.model)
    begun = time.perf_counter()
    cache.encode(prompt)
    read = time.perf_counter() - begun
    banned = torch.zeros(model.config.vocab_size, dtype=torch.bool)
    begun = time.perf_counter()
    write(model, cache.cache.branch(1, len(prompt) - 1), prompt[-1], count, banned)
    wrote = time.perf_counter() - begun
    begun = time.perf_counter()
    cache.encode([*prompt, prompt[0]])
    key = time.perf_counter() - begun
    return {"prompt_per_s": len(prompt) / read, "written_per_s": count / wrote, "key_ms": 1000 * key}


def llama_cpp(url: str, prompt: Sequence[int], count: int) -> dict[str, float]:
    """Return the same of a llama.cpp server, as it times itself; no token ends the text."""
    body = {
        "prompt": list(prompt),
        "n_predict": count,
        "temperature": 0,
        "cache_prompt": False,
        "ignore_eos": True,
    }
    timings = httpx.post(f"{url}/completion", json=body, timeout=_SECONDS, trust_env=False).json()["timings"]
    return {"prompt_per_s": timings["prompt_per_second"], "written_per_s": timings["predicted_per_second"]}


def measured(model: str, length: int, count: int, runs: int) -> dict[str, Any]:
    """Measure both in turns; medians, and ours over theirs."""
    path = serve_model.gguf_of(model)
    checkpoint = load(EngineSettings(str(path), device="cpu"))
    text = resources.files("palimpsest_bench").joinpath("document.txt").read_text("utf-8")
    prompt = checkpoint.tokenizer.encode(text).ids[:length]
    port = serve_model.free_port(0)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "llama_cpp": []}
    with serve_model.running(serve_model.program(path, port, length + count + 64), False) as (process, last):
        url = f"http://127.0.0.1:{port}"
        serve_model.reached(process, last, url)
        for run in range(runs + 1):  # the first warms up
            rows = {"ours": ours(checkpoint, prompt, count), "llama_cpp": llama_cpp(url, prompt, count)}
            for name, row in rows.items():
                found[name] += [row] if run else []
    each = {name: {key: median(row[key] for row in rows) for key in rows[0]} for name, rows in found.items()}
    ratios = {key: each["ours"][key] / value for key, value in each["llama_cpp"].items()}
    return {
        "format": 1,
        "model": checkpoint.name,
        "number_format": checkpoint.number_format,
        "prompt": len(prompt),
        "written": count,
        "runs": runs,
        **each,
        "ratios": ratios,
    }


@click.command()
@click.argument("model", metavar="NAME|FILE.gguf")
@click.option(
    "--prompt", "length", type=click.IntRange(2), default=512, show_default=True, help="Tokens of the prompt."
)
@click.option("--tokens", "count", type=click.IntRange(2), default=48, show_default=True, help="Tokens to write.")
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), metavar="FILE", help="Write the figures there.")
@one_sentence
def main(model: str, length: int, count: int, runs: int, out: Path | None) -> None:
    """Measure a left-to-right model in our engine and in llama.cpp, in turns."""
    found = measured(model, length, count, runs)
    click.echo(f"{found['model']}, {found['number_format']}; {length} tokens read, {count} written, {runs} runs\n")
    click.echo("| | prompt, tokens/s | written, tokens/s | one token more, ms |\n|---|---|---|---|")
    for name in ("ours", "llama_cpp"):
        row = found[name]
        key = f"{row['key_ms']:.0f}" if "key_ms" in row else "–"
        click.echo(f"| {name} | {row['prompt_per_s']:.0f} | {row['written_per_s']:.1f} | {key} |")
    ratios = found["ratios"]
    click.echo(f"| ratio | {ratios['prompt_per_s']:.2f} | {ratios['written_per_s']:.2f} | |")
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
