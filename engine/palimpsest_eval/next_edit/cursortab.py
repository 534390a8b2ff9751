"""Score next edits as cursortab's evaluation does: how good they are, whether they are shown, and whether there is silence.

The score is the mean chrF of the changed lines times the harmonic mean of the show rate and the quiet rate. What is scored is
the first thing that is shown in a scenario. Knows no finder and no model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from palimpsest_engine.changes import NextEdit, NextEditQuestion
from palimpsest_engine.errors import DataError
from palimpsest_eval.next_edit.accepting import with_edit
from palimpsest_eval.next_edit.cases import Option
from palimpsest_eval.next_edit.chrf import delta_chrf
from palimpsest_eval.next_edit.judging import applied
from palimpsest_eval.next_edit.recorded import READERS
from palimpsest_eval.next_edit.scenarios import Scenario
from palimpsest_eval.next_edit.walking import Propose

_STEPS = 20  # edits accepted one after the other


@dataclass(frozen=True, slots=True)
class Scored:
    """The outcome of one scenario. chrf: None where silence was expected."""

    name: str
    shown: bool
    chrf: float | None
    ms: float


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one system, as cursortab publishes them; chrf from 0 to 100, the others from 0 to 1."""

    score: float
    chrf: float
    show_rate: float
    quiet_rate: float


def summed_up(scored: Sequence[Scored]) -> Score:
    """Return the figures of many scenarios."""
    loud, quiet = [each for each in scored if each.chrf is not None], [each for each in scored if each.chrf is None]
    quality = sum(each.chrf or 0.0 for each in loud) / max(1, len(loud))
    show = sum(each.shown for each in loud) / max(1, len(loud))
    silent = sum(not each.shown for each in quiet) / max(1, len(quiet))
    gate = 2 * show * silent / (show + silent) if show + silent else 0.0
    return Score(quality * gate / 100, quality, show, silent)


def replayed(scenarios: Sequence[Scenario], target: str) -> Iterator[Scored]:
    """Yield what the recorded replies of a target come to; target: one of `READERS`."""
    for scenario in scenarios:
        if scenario.targets and target not in scenario.targets:
            continue
        lines, replies = None, scenario.replies(target)
        if replies:
            lines = READERS[target](scenario, *replies[0])
        yield _scored(scenario, lines, 0.0)


def published(folder: Path) -> dict[str, Score]:
    """Return the figures that came with the scenarios, in `baseline.json` beside their folder; none without that file."""
    file = folder.parent / "baseline.json"
    if not file.is_file():
        return {}
    try:
        keys = ("score", "deltaChrF", "showRate", "quietRate")
        rows = json.loads(file.read_text("utf-8")).items()
        return {name: Score(*(float(row[key]) for key in keys)) for name, row in rows}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} has no figures of cursortab's evaluation") from error


def asked(
    scenarios: Sequence[Scenario], show: Callable[[NextEditQuestion], str | None], budget_ms: float
) -> Iterator[Scored]:
    """Yield what we come to. show: the text with what is shown for a question, or None if nothing is.

    Scenarios for certain targets only are left out.
    """
    for scenario in scenarios:
        if not scenario.targets:
            question = scenario.question(budget_ms)
            begun = time.perf_counter()
            text = show(question)
            taken = 1000 * (time.perf_counter() - begun)
            yield _scored(scenario, None if text is None else text.removesuffix("\n").split("\n"), taken)


def _scored(scenario: Scenario, lines: Sequence[str] | None, ms: float) -> Scored:
    if scenario.expected is None:
        return Scored(scenario.name, lines is not None, None, ms)
    quality = delta_chrf(scenario.lines, scenario.lines if lines is None else lines, scenario.expected)
    return Scored(scenario.name, lines is not None, quality, ms)


def first_shown(propose: Propose) -> Callable[[NextEditQuestion], str | None]:
    """Show the first edit alone."""
    return lambda question: _with(question, propose(question)[:1])


def all_shown(propose: Propose) -> Callable[[NextEditQuestion], str | None]:
    """Show all edits of an answer in the document with the cursor at once, as clients do that apply all of them."""
    return lambda question: _with(question, propose(question))


def accepted_in_turn(propose: Propose) -> Callable[[NextEditQuestion], str | None]:
    """Accept one edit after the other, and ask again after each."""

    def show(question: NextEditQuestion) -> str | None:
        name = question.documents[0].name
        now = question
        for _ in range(_STEPS):
            here = [each for each in propose(now) if each.document == name]
            if not here:
                break
            documents, changes, cursor = with_edit(now.documents, now.changes, name, here[0].span, here[0].text)
            now = replace(now, documents=documents, changes=changes, cursor=cursor)
        return None if now is question else now.documents[0].text

    return show


def _with(question: NextEditQuestion, edits: Sequence[NextEdit]) -> str | None:
    document = question.documents[0]
    here = [Option(each.document, each.span, each.text) for each in edits if each.document == document.name]
    return applied(document.text, here) if here else None
