"""Simulates developers who type and replicas of an engine that answer them, event by event, with simpy."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

import simpy

from palimpsest_bench.sizing.replica import Record, Replica
from palimpsest_bench.sizing.service import Service
from palimpsest_bench.sizing.tape import Tape
from palimpsest_bench.sizing.typist import Ask, Typist

Routing = Literal["document", "any"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Says what is simulated.

    share: of the developers, those who are typing at a given moment; 1 means that all do, without a rest. bout: the mean
    seconds that a developer types before doing something else; the next bout is in another document. routing: a document has
    its own replica, or a question goes to the shortest queue. seconds: simulated and counted, after `settling` seconds.
    """

    developers: int
    replicas: int
    share: float = 0.2
    bout: float = 120.0
    routing: Routing = "document"
    speculate: bool = True
    seconds: float = 600.0
    settling: float = 10.0
    seed: int = 0


def simulate(scenario: Scenario, service: Service, tapes: Sequence[Tape]) -> Record:
    """Return what happens in a scenario; the same for the same arguments."""
    return _Simulation(scenario, service, tapes).run()


class _Simulation:
    """The office of all typists of one run."""

    def __init__(self, scenario: Scenario, service: Service, tapes: Sequence[Tape]) -> None:
        self._scenario, self._tapes = scenario, tapes
        self._random = Random(scenario.seed)
        self._env = simpy.Environment()
        self._record = Record(scenario.settling, scenario.seconds)
        self._replicas = [
            Replica(self._env, service, Random(f"{scenario.seed} {number}"), self._ended, self._record)
            for number in range(scenario.replicas)
        ]
        self._homes = dict[int, Replica]()  # of documents that are open
        self._typists = dict[int, Typist]()
        self._since = dict[int, float]()
        self._documents = 0

    def run(self) -> Record:
        share = self._scenario.share
        for client in range(self._scenario.developers):
            if self._random.random() < share:
                self._sit_down(client)
            else:
                self._rest(client)
        self._env.run(until=self._scenario.settling + self._scenario.seconds)
        for replica in self._replicas:
            replica.flush()
        for client in list(self._typists):
            self._leave(client)
        return self._record

    # What a typist asks of its office

    def now(self) -> float:
        return float(self._env.now)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        event = self._env.timeout(seconds)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: call())

    def submit(self, ask: Ask) -> None:
        if self._scenario.routing == "any":
            self._homes[ask.document] = min(self._replicas, key=lambda each: each.load)
        if self.now() >= self._record.since:
            self._record.asks.append(ask)
        self._homes[ask.document].submit(ask)

    def cancel(self, ask: Ask) -> None:
        self._homes[ask.document].cancel(ask)

    # What developers do

    def _sit_down(self, client: int) -> None:
        """Type for a while, from somewhere in a session on."""
        self._open(client, self._random.choice(self._tapes), first=None)
        if self._scenario.share < 1:
            self.later(self._random.expovariate(1 / self._scenario.bout), lambda: self._stand_up(client))

    def _open(self, client: int, tape: Tape, first: int | None) -> None:
        self._documents += 1
        document = self._documents
        at = self._random.randrange(len(tape.moments)) if first is None else first
        self._homes[document] = self._replicas[zlib.crc32(b"%d" % document) % len(self._replicas)]
        self._since[client] = self.now()

        def on() -> None:
            self._leave(client)
            self._open(client, self._random.choice(self._tapes), first=0)

        typist = Typist(self, client, document, tape, at, on, speculate=self._scenario.speculate)
        self._typists[client] = typist
        typist.begin()

    def _leave(self, client: int) -> None:
        typist = self._typists.pop(client)
        typist.stop()
        self._record.typing += self._record.within(self._since[client], self.now())
        self._record.keystrokes += typist.keystrokes
        self._record.refused += typist.refused

    def _stand_up(self, client: int) -> None:
        self._leave(client)
        self._rest(client)

    def _rest(self, client: int) -> None:
        share = self._scenario.share
        if share:
            rest = self._scenario.bout * (1 - share) / share
            self.later(self._random.expovariate(1 / rest), lambda: self._sit_down(client))

    def _ended(self, ask: Ask) -> None:
        typist = self._typists.get(ask.client)
        if typist is None:
            return
        if ask.outcome == "answered":
            typist.answered(ask)
        else:
            typist.given_up(ask)
