"""Turns what happened into figures, and seeks the fewest replicas that reach an aim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from palimpsest_bench.server.observe import percentiles
from palimpsest_bench.sizing.replica import Record
from palimpsest_bench.sizing.service import Service
from palimpsest_bench.sizing.simulation import Scenario, simulate
from palimpsest_bench.sizing.tape import Tape
from palimpsest_bench.sizing.typist import Ask, Outcome

WITHIN_MS = (300, 1000)
_TYPING_SECONDS = 20_000.0  # of all developers together, in one simulation
_SLICE = 2000  # developers
_LEAST_SECONDS, _MOST_SECONDS = 40.0, 36_000.0


@dataclass(frozen=True, slots=True)
class Aim:
    """A share of the questions, of those that nobody took back before, that is answered within some milliseconds."""

    share: float = 0.95
    ms: float = 1000.0

    def reached(self, record: Record) -> bool:
        """Return whether it was reached."""
        return within(interactive(record), self.ms) >= self.share


def interactive(record: Record) -> list[Ask]:
    """Return the questions that a developer waited for."""
    return [ask for ask in record.asks if not ask.speculative]


def waited_ms(asks: Sequence[Ask]) -> list[float]:
    """Return how long answered questions waited for their turn."""
    spans = ((ask.submitted, ask.begun) for ask in asks if ask.outcome == "answered")
    return [1000 * (begun - submitted) for submitted, begun in spans if submitted is not None and begun is not None]


def answer_ms(asks: Sequence[Ask]) -> list[float]:
    """Return how long answered questions took, the waiting with them."""
    return [took for outcome, took in _took_ms(asks) if outcome == "answered"]


def within(asks: Sequence[Ask], ms: float) -> float:
    """Return the share that was answered in time; what was taken back before that time was over says nothing."""
    told = _took_ms(asks)
    in_time = sum(outcome == "answered" and took <= ms for outcome, took in told)
    late = sum(took > ms for _, took in told)
    return in_time / (in_time + late) if in_time + late else 1.0


def _took_ms(asks: Sequence[Ask]) -> list[tuple[Outcome, float]]:
    spans = ((ask.outcome, ask.submitted, ask.ended) for ask in asks)
    return [(how, 1000 * (end - begin)) for how, begin, end in spans if begin is not None and end is not None]


def summary(record: Record, replicas: int) -> dict[str, Any]:
    """Return the figures of a simulation, or of typing for real."""
    asks = interactive(record)
    cancelled = sum(ask.outcome == "cancelled" for ask in asks)
    answered = sum(ask.outcome == "answered" for ask in asks)
    capacity = replicas * record.seconds
    return {
        "asked": len(asks),
        "asked_a_minute": round(60 * len(asks) / record.typing, 1) if record.typing else 0.0,
        "model_share": round(len(asks) / record.keystrokes, 4) if record.keystrokes else 0.0,
        "answered_a_minute": round(60 * answered / record.typing, 1) if record.typing else 0.0,
        "cancelled": round(cancelled / len(asks), 4) if asks else 0.0,
        "waiting_ms": _known(waited_ms(asks)),
        "answer_ms": _known(answer_ms(asks)),
        **{f"within_{ms}": round(within(asks, ms), 4) for ms in WITHIN_MS},
        "utilisation": round(record.busy / capacity, 4),
        "utilisation_ahead": round(record.ahead / capacity, 4),
        "cold": round(record.cold / record.fills, 4) if record.fills else 0.0,
    }


def _known(values: Sequence[float]) -> dict[str, float] | None:
    return percentiles(values, 50, 95, 99) if len(values) > 1 else None


def long_enough(scenario: Scenario) -> Scenario:
    """Return the scenario for a time in which enough is typed: the fewer developers, the longer."""
    typing = max(1.0, scenario.developers * scenario.share)
    return replace(scenario, seconds=min(_MOST_SECONDS, max(_LEAST_SECONDS, _TYPING_SECONDS / typing)))


def fewest(
    scenario: Scenario, service: Service, tapes: Sequence[Tape], aim: Aim, guess: int = 1, most: int = 100_000
) -> tuple[int, Record] | None:
    """Return the fewest replicas that reach an aim, and what happened with them; None if no number does.

    guess: where to begin; a tenth of it is a step as long as it is far away.
    """
    tried = dict[int, Record]()

    def good(replicas: int) -> bool:
        if replicas not in tried:
            tried[replicas] = simulate(replace(scenario, replicas=replicas), service, tapes)
        return aim.reached(tried[replicas])

    alone = simulate(Scenario(1, 1, 1.0, speculate=False, seconds=1200.0, seed=scenario.seed), service, tapes)
    if not aim.reached(alone):
        return None  # nobody waits there, and it takes too long all the same
    step = max(1, ceil(guess / 10))
    low, high = 0, guess
    while not good(high):  # low fails, high is good from here on
        low, high = high, high + step
        step *= 2
        if high > most:
            return None
    if low == 0:
        while high - step > 0 and good(high - step):
            high -= step
        low = max(0, high - step)
    while high - low > max(1, high // 25):  # within 4 %
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high, tried[high]


def slices(scenario: Scenario) -> int:
    """Return of how many like parts a scenario consists: engines that share no document know nothing of each other."""
    return scenario.developers // _SLICE if scenario.routing == "document" and scenario.developers > _SLICE else 1


def table(
    developers: Sequence[int], scenario: Scenario, service: Service, tapes: Sequence[Tape], aim: Aim
) -> list[dict[str, Any]]:
    """Return a row for each number of developers: the replicas needed, and the figures with them.

    Of many developers, one of the `slices` is simulated, with its part of the engines.
    """
    rows, each = list[dict[str, Any]](), 0.0  # replicas a developer, from the row before
    for count in sorted(developers):
        parts = slices(replace(scenario, developers=count))
        wanted = long_enough(replace(scenario, developers=round(count / parts)))
        found = fewest(wanted, service, tapes, aim, max(1, ceil(each * wanted.developers)))
        if found is None:
            rows.append({"developers": count, "replicas": None})
            continue
        replicas, record = found
        each = replicas / wanted.developers
        rows.append({"developers": count, "replicas": replicas * parts} | summary(record, replicas))
    return rows
