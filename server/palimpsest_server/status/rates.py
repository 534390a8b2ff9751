"""Say how often suggestions were taken, and which kinds so seldom that they are better held back. Numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

from palimpsest_server.status.tally import Event

ENOUGH = 200  # next edits; with fewer nothing is held back
OF_A_KIND = 20
SELDOM = 0.2  # a kind that is clearly taken less often is held back
_Z = 1.96  # of a two-sided bound that holds in 95 % of cases

_K = TypeVar("_K", str, int, tuple[str, str])

Kind = tuple[str, str]  # of a next edit: its kind and its certainty


@dataclass(frozen=True, slots=True)
class Rate:
    """So many were taken of all that were shown."""

    taken: int
    shown: int

    @property
    def share(self) -> float:
        """Return the share of those taken, 0 to 1."""
        return self.taken / self.shown if self.shown else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the bounds by Wilson (1927) between which the share lies, in 95 % of cases."""
        if not self.shown:
            return 0.0, 1.0
        n, share, square = self.shown, self.share, _Z * _Z
        middle = (share + square / (2 * n)) / (1 + square / n)
        apart = _Z / (1 + square / n) * sqrt(share * (1 - share) / n + square / (4 * n * n))
        return max(0.0, middle - apart), min(1.0, middle + apart)

    @property
    def is_seldom(self) -> bool:
        """Return whether it is clear that the share is too small."""
        return self.shown >= OF_A_KIND and self.bounds[1] < SELDOM


def rates(events: Iterable[Event], by: Callable[[Event], _K]) -> dict[_K, Rate]:
    """Return the rate of each group of events, in the order of the groups."""
    found: dict[_K, Rate] = {}
    for each in events:
        before = found.get(by(each), Rate(0, 0))
        found[by(each)] = Rate(before.taken + each.taken, before.shown + 1)
    return {key: found[key] for key in sorted(found)}


def kind_of(event: Event) -> Kind:
    """Return the group by which next edits are held back."""
    return event.kind, event.certainty


def held_back(events: Sequence[Event]) -> frozenset[Kind]:
    """Return the kinds of next edits that were clearly taken too seldom; none before there are enough events."""
    edits = [each for each in events if each.what == "nextEdit"]
    if len(edits) < ENOUGH:
        return frozenset()
    return frozenset(kind for kind, rate in rates(edits, kind_of).items() if rate.is_seldom)


@dataclass(frozen=True, slots=True)
class Replay:
    """The next edits of a file, as they would have been shown with what was known by then."""

    shown: Rate
    held: Rate


def replay(events: Sequence[Event]) -> Replay:
    """Go through the events in order, and hold back what those before each say."""
    edits = [each for each in events if each.what == "nextEdit"]
    counts: dict[Kind, Rate] = {}
    shown, held = Rate(0, 0), Rate(0, 0)
    for number, each in enumerate(edits):
        before = counts.get(kind_of(each), Rate(0, 0))
        if number >= ENOUGH and before.is_seldom:
            held = Rate(held.taken + each.taken, held.shown + 1)
        else:
            shown = Rate(shown.taken + each.taken, shown.shown + 1)
        counts[kind_of(each)] = Rate(before.taken + each.taken, before.shown + 1)
    return Replay(shown, held)
