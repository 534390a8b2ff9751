"""Measures a trained adapter: accuracy on held-out rows by noise, and holes filled each way. Writes JSON lines.

Parts are done in the order of their weight until the time is used up; each writes its rows when it ends.
"""

from __future__ import annotations

import gzip
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from palimpsest_train.denoiser.fill import Fill, Filler, Prepared, Problem
from palimpsest_train.denoiser.loss import Counts, forward, score, tensors
from palimpsest_train.denoiser.network import Adapter, Network
from palimpsest_train.denoiser.recipe import SIZES, Recipe
from palimpsest_train.denoiser.rows import Batch
from palimpsest_train.denoiser.train import Log
from palimpsest_train.errors import TrainingError

LONGEST_WRITTEN = 48  # tokens of a left-to-right middle
RANKINGS = ("likelihood", "whole likelihood", "confidence")


def read_problems(path: Path) -> list[Problem]:
    """Read rows `{"task_id", "prompt", "suffix", "canonical_solution" or "truth"}` of JSON lines, gzip or not.

    A line end after a whole line belongs to what follows it, as in an editor.
    """
    opened: Any = gzip.open if path.suffix == ".gz" else open
    problems = []
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                truth, suffix = row["truth"] if "truth" in row else row["canonical_solution"], row["suffix"]
                if truth.endswith("\n") and (not row["prompt"] or row["prompt"].endswith("\n")):
                    truth, suffix = truth[:-1], "\n" + suffix
                kind = row.get("kind") or ("lines" if "\n" in truth else "line")
                problems.append(Problem(str(row["task_id"]), row["prompt"], suffix, truth, kind))
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{path} holds no problems: {error}.") from error
    return problems


def held_out(network: Network, adapter: Adapter, recipe: Recipe, batches: Sequence[Batch]) -> dict[str, float]:
    """Return loss and accuracy on held-out documents, of the denoiser and of the base left to right, by bin of noise."""
    counts = Counts(network.device)
    for batch in batches:
        for first in range(0, recipe.rows, recipe.at_once):
            data = tensors(batch, slice(first, first + recipe.at_once), recipe, network.device)
            with torch.no_grad():
                hidden, context = forward(network, adapter, data)
                score(network, adapter, hidden, context, data, 0.0, counts, None)
    return counts.read()


class Evaluation:
    """Fills problems each way and writes one row a problem to `fills.jsonl`. deadline: by `time.monotonic`."""

    def __init__(self, filler: Filler, out: Path, log: Log, deadline: float, at_once: int = 128) -> None:
        self.filler, self.out, self.log, self.deadline, self.at_once = filler, out, log, deadline, at_once

    def run(self, name: str, problems: Sequence[Problem], steps: int, confident: float) -> None:
        """Fill these problems in every way, some at once; write the rows that there are when the time is used up."""
        began, rows = time.monotonic(), list[dict[str, Any]]()
        slowest = 0.0
        with (self.out / "fills.jsonl").open("a", encoding="utf-8") as file:
            for first in range(0, len(problems), self.at_once):
                started = time.monotonic()
                if started + slowest > self.deadline:
                    self.log.row(evaluation=name, cut_short_at=first)
                    break
                for row in self.some(problems[first : first + self.at_once], steps, confident):
                    rows.append(row)
                    file.write(json.dumps({"set": name} | row) + "\n")
                file.flush()
                slowest = max(slowest, time.monotonic() - started)
        for kind in sorted({row["kind"] for row in rows}):
            chosen = [row for row in rows if row["kind"] == kind]
            self.log.row(evaluation=name, kind=kind, problems=len(chosen), **summary(chosen))
        self.log.row(evaluation=name, problems=len(rows), seconds=round(time.monotonic() - began, 1), **summary(rows))

    def some(self, problems: Sequence[Problem], steps: int, confident: float) -> Iterator[dict[str, Any]]:
        """Yield one row a problem, with every way's text."""
        filler = self.filler
        prepared = filler.prepare(problems)
        lengths = [max(1, min(SIZES[-1], len(filler.vocabulary.encode(p.healed + p.truth)))) for p in problems]
        by_way: dict[str, list[Fill]] = {"left to right": filler.left_to_right(prepared, LONGEST_WRITTEN)}
        times: dict[str, float] = {}
        for way, sizes, passes, sure in (
            ("oracle", lengths, steps, confident),
            ("oracle, a token a pass", lengths, SIZES[-1], 1.0),
            *((f"size {size}", [size] * len(problems), steps, confident) for size in SIZES),
        ):
            began = time.monotonic()
            by_way[way] = filler.denoise(prepared, sizes, passes, sure)
            times[way] = round(1000 * (time.monotonic() - began) / len(problems), 2)
        scores = {way: self._scores(prepared, fills) for way, fills in by_way.items()}
        for number, problem in enumerate(problems):
            ways = {
                way: {
                    "text": filler.text_of(problem, fills[number]),
                    "passes": fills[number].passes,
                    "confidence": round(fills[number].confidence, 4),
                    **scores[way][number],
                }
                for way, fills in by_way.items()
            }
            yield {
                "task_id": problem.name,
                "kind": problem.kind,
                "truth": problem.truth,
                "truth_tokens": lengths[number],
                "ms": times,
                "ways": ways,
            }

    def _scores(self, prepared: Prepared, fills: Sequence[Fill]) -> list[dict[str, float]]:
        """Score each fill's text: its tokens, and by the base alone `whole`, the log-probability that it is the middle.

        A line's end is often one token with what is before it, so a line is scored with and without its end.
        """
        encode, text_of = self.filler.vocabulary.encode, self.filler.text_of
        texts = [p.healed + text_of(p, fill) for p, fill in zip(prepared.problems, fills, strict=True)]
        plain = self.filler.likelihood(prepared, [Fill(tuple(encode(text)), 0) for text in texts])
        ended = self.filler.likelihood(prepared, [Fill(tuple(encode(text + "\n")), 0) for text in texts])
        return [
            {
                "tokens": len(encode(text)),
                "sum": round(own, 3),
                "whole": round(max(own + end, line) if problem.one_line else own + end, 3),
            }
            for problem, text, (own, end), (line, _) in zip(prepared.problems, texts, plain, ended, strict=True)
        ]


def rank(ways: dict[str, Any], by: str, names: Sequence[str]) -> str:
    """Return the text that a ranking puts first among these ways."""

    def worth(name: str) -> float:
        way = ways[name]
        if by == "confidence":
            return float(way["confidence"])
        return float(way["whole"] / (way["tokens"] + 1) if by == "likelihood" else way["whole"])

    return str(ways[max(names, key=worth)]["text"])


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the exact matches of each way and ranking, white space at the end aside, and mean passes."""
    if not rows:
        return {}
    sizes = [f"size {size}" for size in SIZES]
    right: dict[str, int] = defaultdict(int)
    for row in rows:
        truth, ways = row["truth"].rstrip(), row["ways"]
        for name, way in ways.items():
            right[name] += way["text"].rstrip() == truth
        for by in RANKINGS:
            right[f"ranked by {by}"] += rank(ways, by, sizes).rstrip() == truth
        for by in RANKINGS[:2]:
            right[f"both, ranked by {by}"] += rank(ways, by, [*sizes, "left to right"]).rstrip() == truth
        right["any size"] += any(ways[name]["text"].rstrip() == truth for name in sizes)
    found = {name: round(count / len(rows), 4) for name, count in right.items()}
    passes = {f"passes, {n}": round(sum(r["ways"][n]["passes"] for r in rows) / len(rows), 2) for n in rows[0]["ways"]}
    return found | passes
