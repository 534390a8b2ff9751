"""Measure the cases of next edit: one row a case, and the rates of many rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_eval.next_edit.cases import Case
from palimpsest_eval.next_edit.judging import judged
from palimpsest_eval.next_edit.walking import Propose, Walk, walked
from palimpsest_eval.statistics import percentile

EAGERNESS: dict[str, frozenset[Certainty]] = {
    "low": frozenset({"sure"}),
    "medium": frozenset({"sure", "likely"}),
    "high": frozenset({"sure", "likely", "possible"}),
}
_FIRST = 3
_REMEMBERED = 256  # answers


@dataclass(frozen=True, slots=True)
class Offered:
    """An edit that was offered, and what is to be said of it."""

    document: str
    start: int
    end: int
    text: str
    kind: str
    certainty: Certainty
    reason: str
    right: bool
    at_place: bool


@dataclass(frozen=True, slots=True)
class Row:
    """The edits that were offered in a case, the best first. ms: until it was there. walks: by eagerness."""

    id: str
    language: str
    kind: str
    needs: str
    offered: tuple[Offered, ...]
    ms: float
    walks: dict[str, Walk]

    @property
    def loud(self) -> bool:
        """Return whether anything was due."""
        return self.needs != "nothing"

    def shown(self, eagerness: str) -> list[Offered]:
        """Return what is shown with an eagerness, the best first."""
        return [each for each in self.offered if each.certainty in EAGERNESS[eagerness]]

    def as_json(self) -> dict[str, Any]:
        """Return the row for a results file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Rates:
    """Counts of many rows with one eagerness, each as (how many, of how many)."""

    first: tuple[int, int]
    first_three: tuple[int, int]
    at_place: tuple[int, int]
    shown_in_vain: tuple[int, int]
    right_when_shown: tuple[int, int]
    sure_right: tuple[int, int]
    reached: tuple[int, int]
    wrong_on_the_way: int


def measured(
    cases: Sequence[Case], propose: Propose, budget_ms: float, advanced: Callable[[], None] = lambda: None
) -> Iterator[Row]:
    """Yield the row of each case. The first question is asked twice, as what it starts does not count."""
    ask = lru_cache(_REMEMBERED)(propose)  # the walks begin alike
    for number, case in enumerate(cases):
        question = case.question(budget_ms)
        if not number:
            propose(question)
        begun = time.perf_counter()
        edits = ask(question)
        taken = 1000 * (time.perf_counter() - begun)
        offered = tuple(_offered(case, edit) for edit in edits)
        walks = {name: walked(case, only(ask, allowed), budget_ms) for name, allowed in EAGERNESS.items()}
        yield Row(case.id, case.language, case.kind, case.needs, offered, round(taken, 2), walks)
        advanced()


def only(propose: Propose, allowed: frozenset[Certainty]) -> Propose:
    """Return what proposes only edits of these certainties."""
    return lambda question: tuple(each for each in propose(question) if each.certainty in allowed)


def _offered(case: Case, edit: NextEdit) -> Offered:
    verdict = judged(case.documents, (*case.due, *case.allowed), edit)
    place = (edit.document, edit.span.start, edit.span.end, edit.text)
    return Offered(*place, edit.kind, edit.certainty, edit.reason, verdict.right, verdict.at_place)


def rates(rows: Sequence[Row], eagerness: str) -> Rates:
    """Count what is shown with an eagerness. What is shown at all is the first edit; the others come after a refusal."""
    loud, quiet = [row for row in rows if row.loud], [row for row in rows if not row.loud]
    lists = [row.shown(eagerness) for row in loud]
    firsts = [each[0] for row in rows if (each := row.shown(eagerness))]
    sure = [each for row in rows for each in row.shown("low")]
    walks = [row.walks[eagerness] for row in rows]
    return Rates(
        (sum(bool(each) and each[0].right for each in lists), len(loud)),
        (sum(any(one.right for one in each[:_FIRST]) for each in lists), len(loud)),
        (sum(bool(each) and each[0].at_place for each in lists), len(loud)),
        (sum(bool(row.shown(eagerness)) for row in quiet), len(quiet)),
        (sum(each.right for each in firsts), len(firsts)),
        (sum(each.right for each in sure), len(sure)),
        (sum(walk.reached for walk in walks), sum(walk.due for walk in walks)),
        sum(walk.wrong for walk in walks),
    )


def times(rows: Sequence[Row]) -> tuple[float, float]:
    """Return the median and the 95th percentile of the milliseconds."""
    taken = [row.ms for row in rows]
    return percentile(taken, 50), percentile(taken, 95)
