"""One simulated engine: one question after the other, as `runtime/queued.py` does it, with the product's own turns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import simpy

from palimpsest_bench.sizing.service import Service
from palimpsest_bench.sizing.typist import Ask
from palimpsest_engine import FillRequest, Job, Span
from palimpsest_engine.runtime.queued import gives_way
from palimpsest_engine.runtime.turns import Turns

_HOLE = (Span(0, 0),)


@dataclass(slots=True)
class Record:
    """Holds what happened from `since` on, for so many seconds.

    asks: the questions that an engine was handed. busy, ahead: seconds that all engines worked, and those of them for
    speculative questions. cold: fills of a document whose prefix was not kept. typing: seconds of typing of all developers.
    """

    since: float
    seconds: float
    asks: list[Ask] = field(default_factory=list)
    busy: float = 0.0
    ahead: float = 0.0
    fills: int = 0
    cold: int = 0
    typing: float = 0.0
    keystrokes: int = 0
    refused: int = 0

    def within(self, begun: float, ended: float) -> float:
        """Return how much of a span of time counts."""
        return max(0.0, min(ended, self.since + self.seconds) - max(begun, self.since))


def request_of(ask: Ask) -> FillRequest:
    """Return a request that takes turns as the question does."""
    return FillRequest("", _HOLE, str(ask.document), str(ask.client), speculative=ask.speculative)


class Replica:
    """One engine. It calls `ended` once for each question that nobody cancelled, with its outcome."""

    def __init__(
        self, env: simpy.Environment, service: Service, random: Random, ended: Callable[[Ask], None], record: Record
    ) -> None:
        self._env, self._service, self._draw, self._ended = env, service, service.drawer(random), ended
        self._record = record
        self._turns = Turns()
        self._asks = dict[int, Ask]()  # by the identity of the job, until its turn
        self._wait = 0  # those of them that are not cancelled
        self._running: Ask | None = None
        self._stop = env.event()
        self._bell = env.event()
        self._kept = OrderedDict[int, None]()
        env.process(self._serve())

    @property
    def load(self) -> int:
        """Return how many questions are under way or wait."""
        return self._wait + (self._running is not None)

    def submit(self, ask: Ask) -> None:
        """Let a question wait for its turn; a speculative one under way may have to end for it."""
        ask.job = Job(request_of(ask))
        self._turns.put(ask.job)
        self._asks[id(ask.job)] = ask
        self._wait += 1
        running = self._running
        if running is not None and not running.outcome and gives_way(request_of(running), ask.job.request):
            self.cancel(running)
            self._ended(running)
        if not self._bell.triggered:
            self._bell.succeed()

    def cancel(self, ask: Ask) -> None:
        """End a question: at once if it waits, with its step if it is under way."""
        ask.outcome, ask.ended = "cancelled", self._env.now
        if ask is not self._running:
            assert ask.job is not None
            ask.job.cancel()
            self._wait -= 1
        elif not self._stop.triggered:
            self._stop.succeed()

    def flush(self) -> None:
        """Count the work on the question that is under way."""
        if self._running is not None:
            self._count(self._running)

    def _serve(self) -> Generator[simpy.Event, Any, None]:
        env = self._env
        while True:
            if (turn := self._turns.take()) is None:
                self._bell = env.event()
                yield self._bell
                continue
            ask = self._asks.pop(id(turn.job))
            if ask.outcome:  # cancelled while it waited
                continue
            self._wait -= 1
            self._running, self._stop = ask, env.event()
            ask.begun = env.now
            takes = self._draw() + self._reading(ask)
            yield env.timeout(takes) | self._stop
            passed = env.now - ask.begun
            if ask.outcome and passed < takes:
                yield env.timeout(min(self._service.until_free(passed), takes - passed))
            self._running = None
            self._count(ask)
            if not ask.outcome:
                ask.outcome, ask.ended = "answered", env.now
                self._ended(ask)

    def _reading(self, ask: Ask) -> float:
        """Return the seconds that it takes to read a document whose prefix is not kept."""
        cold = ask.document not in self._kept
        self._kept[ask.document] = None
        self._kept.move_to_end(ask.document)
        if len(self._kept) > self._service.documents:
            self._kept.popitem(last=False)
        if self._env.now >= self._record.since:
            self._record.fills += 1
            self._record.cold += cold
        return self._service.cold_ms / 1000 if cold else 0.0

    def _count(self, ask: Ask) -> None:
        assert ask.begun is not None
        worked = self._record.within(ask.begun, self._env.now)
        self._record.busy += worked
        self._record.ahead += worked if ask.speculative else 0.0
