"""Fits how sure a model's fills are to be right, on measured rows, and measures the fit on packages it has not seen.

A fill is right if its first line is that of the truth. The probability is that of a logistic regression with a small ridge
(Platt 1999; Guo et al., arXiv 1706.04599); its figures come from packages that the fit has not seen.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from palimpsest_engine.checkpoint.calibration import ANY, Calibration
from palimpsest_engine.checkpoint.calibration_file import FORMAT
from palimpsest_engine.errors import DataError
from palimpsest_engine.request import Confidence
from palimpsest_eval.measures import ResultRow
from palimpsest_eval.results import Results
from palimpsest_eval.statistics import wilson
from palimpsest_server.cli import files

WANTED = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SHOWN = (0.6, 0.8)  # of the eagerness `medium` and `low`
FOLDS = 5
LEAST = 20  # fills that a precision is counted over
RIDGE = 2.0  # times half of the squared weights, of features of unit variance
BINS = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A place where a model was asked. features: None where it offered nothing. right: the first line is the true one."""

    package: str
    language: str
    kind: str
    right: bool
    features: dict[str, float] | None


def places(rows: Sequence[ResultRow]) -> list[Place]:
    """Return the places of measured rows. Raises DataError if the rows say nothing of that."""
    if not any(row.evidence for row in rows):
        raise DataError("These results hold no evidence: they are of an older version, or of a system without scores.")
    return [
        Place(row.task.partition("/")[0], row.language or ANY, row.kind, bool(row.line), row.evidence)
        for row in rows
        if row.evidence or not row.text
    ]


def fit(found: Sequence[Place], ridge: float = RIDGE) -> Calibration:
    """Fit the probability that an offered fill is right. Precisions are added by `with_precisions`."""
    offered = [place for place in found if place.features is not None]
    if len({place.right for place in offered}) < 2:
        raise DataError("There is nothing to tell apart: all offered fills are right, or all are wrong.")
    names = sorted({name for place in offered for name in place.features or ()})
    languages = sorted({place.language for place in offered})
    values = torch.tensor([[(place.features or {})[name] for name in names] for place in offered], dtype=torch.float64)
    mean, deviation = values.mean(0), values.std(0).clamp_min(1e-9)
    varies = (values.std(0) > 1e-6).double()
    inputs = (values - mean) / deviation * varies
    spoken = torch.tensor([[place.language == each for each in languages] for place in offered], dtype=torch.float64)
    target = torch.tensor([place.right for place in offered], dtype=torch.float64)
    weights = torch.zeros(1 + len(names) + len(languages), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def loss() -> torch.Tensor:
        solver.zero_grad()
        logits = weights[0] + inputs @ weights[1 : 1 + len(names)] + spoken @ weights[1 + len(names) :]
        total = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        total = total + ridge / 2 * weights[1:].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    solved = weights.detach()
    scaled = solved[1 : 1 + len(names)] / deviation * varies
    intercept = float(solved[0] - (scaled * mean).sum())
    own = solved[1 + len(names) :].tolist()
    others = (
        {ANY: 0.0} if len(languages) > 1 else {}
    )  # as the mean of several languages; of one, nothing follows for others
    return Calibration(
        round(intercept, 5),
        {name: round(float(weight), 5) for name, weight in zip(names, scaled, strict=True) if weight},
        {language: round(each, 5) for language, each in zip(languages, own, strict=True)} | others,
    )


def with_precisions(calibration: Calibration, judged: Sequence[tuple[Place, Confidence]]) -> Calibration:
    """Add the least probabilities from which on a wanted share is right, by the mean of what is counted and what is said.

    All languages count together: what sets them apart is in the probability. judged: places with probabilities of a fit that
    has not seen them.
    """
    order = sorted(((said.probability, place.right) for place, said in judged), reverse=True)
    reached, right, expected = dict[float, float](), 0, 0.0
    for number, (probability, is_right) in enumerate(order, 1):
        right, expected = right + is_right, expected + probability
        for wanted in WANTED:
            if number >= min(LEAST, len(order)) and (right + expected) / 2 >= wanted * number:
                reached[wanted] = probability
    return replace(
        calibration, precisions=tuple((wanted, round(least, 5)) for wanted, least in sorted(reached.items()))
    )


def unseen(found: Sequence[Place], folds: int = FOLDS, seed: int = 0) -> list[tuple[Place, Confidence]]:
    """Return each offered place with what a calibration says of it that has not seen its package, precisions and all."""
    packages = sorted({place.package for place in found})
    random.Random(seed).shuffle(packages)
    if len(packages) < 2:
        raise DataError("A calibration is measured on packages that it has not seen, and these are of one package.")
    folds = min(folds, len(packages))
    said = list[tuple[Place, Confidence]]()
    for fold in range(folds):
        held = set(packages[fold::folds])
        seen = [place for place in found if place.package not in held]
        made = fit(seen)
        made = with_precisions(made, list(_said(made, seen)))
        said += _said(made, [place for place in found if place.package in held])
    return said


def _said(calibration: Calibration, found: Sequence[Place]) -> Iterator[tuple[Place, Confidence]]:
    for place in found:
        if place.features is not None and (said := calibration.confidence(place.features, place.language)):
            yield place, said


def calibrated(found: Sequence[Place]) -> tuple[Calibration, list[tuple[Place, Confidence]]]:
    """Return the calibration of a model, and what one that has not seen a place says of it, place by place."""
    judged = unseen(found)
    return with_precisions(fit(found), judged), judged


def shown_table(found: Sequence[Place], judged: Sequence[tuple[Place, Confidence]]) -> Iterator[str]:
    """Yield the lines of a Markdown table: by wanted precision, what is shown unasked and how much of it is right."""
    yield "| wanted precision | shown, % of places | right, % of those shown | shown where nothing is missing, % |"
    yield "|---|---|---|---|"
    for wanted in (0.0, *WANTED):
        kept = [place for place, said in judged if said.precision >= wanted]
        complete = sum(place.kind == "nothing" for place in found)
        there = sum(place.kind == "nothing" for place in kept)
        name = "all" if not wanted else f"{100 * wanted:.0f} %"
        share = f"{100 * there / complete:.1f}" if complete else "–"
        yield f"| {name} | {100 * len(kept) / max(1, len(found)):.1f} | {rate([p.right for p in kept])} | {share} |"


def parts_table(found: Sequence[Place], judged: Sequence[tuple[Place, Confidence]]) -> Iterator[str]:
    """Yield the lines of a Markdown table: the same by language and by kind of place, as `eagerness` shows it."""
    columns = [f"shown at {100 * each:.0f} %, % | right, %" for each in SHOWN]
    yield f"| of these | places | right, all shown, % | {' | '.join(columns)} |"
    yield f"|---|---|---|{'---|' * 2 * len(SHOWN)}"
    for part in (*sorted({place.language for place in found}), *sorted({place.kind for place in found})):
        places = [place for place in found if part in (place.language, place.kind)]
        own = [(place, said) for place, said in judged if part in (place.language, place.kind)]
        cells = [part, str(len(places)), rate([place.right for place, _ in own])]
        for wanted in SHOWN:
            kept = [place.right for place, said in own if said.precision >= wanted]
            cells += [f"{100 * len(kept) / len(places):.0f}", rate(kept)]
        yield f"| {' | '.join(cells)} |"


def reliability(judged: Sequence[tuple[Place, Confidence]]) -> list[tuple[float, float, int]]:
    """Return (mean probability, share that is right, number) of each tenth of the fills, the least probable first."""
    order = sorted(((said.probability, place.right) for place, said in judged))
    out = []
    for number in range(BINS):
        part = order[number * len(order) // BINS : (number + 1) * len(order) // BINS]
        if part:
            out.append((sum(p for p, _ in part) / len(part), sum(r for _, r in part) / len(part), len(part)))
    return out


def reliability_table(judged: Sequence[tuple[Place, Confidence]]) -> Iterator[str]:
    """Yield the lines of a Markdown table: said and seen, and the errors of the whole."""
    yield "| said, % | seen, % | fills |"
    yield "|---|---|---|"
    bins = reliability(judged)
    for said, seen, count in bins:
        yield f"| {100 * said:.1f} | {100 * seen:.1f} | {count} |"
    yield ""
    total = max(1, len(judged))
    error = sum(abs(said - seen) * count for said, seen, count in bins) / total
    brier = sum((said.probability - place.right) ** 2 for place, said in judged) / total
    yield f"Expected calibration error {100 * error:.1f} points, Brier score {brier:.3f}, of {len(judged)} fills."


def rate(values: Sequence[bool]) -> str:
    """Return a percentage with Wilson's interval, or a dash."""
    if not values:
        return "–"
    low, high = wilson(sum(values), len(values))
    return f"{100 * sum(values) / len(values):.1f} ({100 * low:.1f}–{100 * high:.1f})"


def of_results(found: Sequence[Results]) -> tuple[Calibration, list[tuple[Place, Confidence]], list[Place]]:
    """Return the calibration of the model in these results, what is said of each fill by one that has not seen it, and all
    places. Raises DataError if the results are of several models."""
    if len({results.settings["checkpoint"]["sha256"] for results in found}) != 1:
        raise DataError("These results are of several models; a calibration is of one.")
    measured = places([row for results in found for row in results.of(results.systems[0])])
    return *calibrated(measured), measured


def write(path: Path, calibration: Calibration, found: Sequence[Results]) -> None:
    """Write a calibration file. found: the results that it was made of."""
    about, model = found[0].about, found[0].settings["checkpoint"]
    count = sum(len(results.of(results.systems[0])) for results in found)
    head = {
        "format": FORMAT,
        "model": model["name"],
        "sha256": model["sha256"],
        "measured": f"{about['date']}, {count} places, {', '.join(filter(None, calibration.languages))}",
    }
    files.put(path, json.dumps(head | asdict(calibration), indent=1) + "\n")
