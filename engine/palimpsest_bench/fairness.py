"""Measure how long a client of an engine waits beside others that storm. It knows the protocol `Engine`, and no model."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from palimpsest_bench.server.observe import cursors, percentiles
from palimpsest_engine import (
    Draft,
    Engine,
    EngineStatus,
    Fill,
    FillCancelled,
    FillRequest,
    Job,
    PalimpsestError,
    Span,
    Verdict,
)
from palimpsest_engine.runtime.queued import QueuedEngine

STORMING, WAITING = 50, 4  # clients that storm, and the requests that each of them keeps waiting
REST = 10  # a quiet client asks when all others have had an answer, and up to so many more
EAGER = 3  # answers to a client that asks again at once
_LONGEST = 120.0  # seconds for one answer
_PLACES = 24  # of the cursor in the document


class FixedTime:
    """Answers every request after the same time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.status = seconds, EngineStatus("ready", model="fixed time")

    def open(self) -> None:
        """Do nothing."""

    def rehearse(self, cancelled: Callable[[], bool]) -> None:
        """Do nothing."""

    def fill(self, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
        """Wait, and fill with nothing."""
        until = time.perf_counter() + self.seconds
        while (left := until - time.perf_counter()) > 0:
            if cancelled():
                raise FillCancelled("The fill was cancelled.")
            time.sleep(min(left, 0.001))
        yield Fill(
            ("",) * len(request.holes), Verdict("not checked", "nothing was written"), "Time is all that it takes."
        )

    def close(self) -> None:
        """Do nothing."""


def fixed_time(seconds: float) -> Engine:
    """Return an engine of clients that take turns, whose fills take so many seconds each."""
    return QueuedEngine(lambda: FixedTime(seconds), "Opening.", "Waiting.", "palimpsest-fixed-time")


class Storm:
    """Clients that keep requests waiting: each answer is followed by the next request for that document.

    engines: one for each client; they may be the same. answered: answers so far, of all.
    """

    def __init__(self, engines: Sequence[Engine], text: str, waiting: int = WAITING) -> None:
        self.answered, self._asked_for, self._engines, self._text, self._waiting = 0, 0, engines, text, waiting
        self._places, self._changed = cursors(text, _PLACES), threading.Condition()
        self._ended: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._jobs: dict[tuple[int, int], Job] = {}

    @contextmanager
    def blowing(self) -> Iterator[Storm]:
        """Keep them asking; in the end, wait until each has its last answer."""
        asking = threading.Thread(target=self._ask, name="palimpsest-storm", daemon=True)
        asking.start()
        try:
            yield self
        finally:
            self._ended.put(None)
            asking.join()
            for job in self._jobs.values():
                job.cancel()
            # A future is done before those who count are told.
            with self._changed:
                if not self._changed.wait_for(lambda: self.answered == self._asked_for, _LONGEST):
                    raise PalimpsestError(f"the engine did not end its fills within {_LONGEST:.0f} s")

    def submit(self, engine: Engine, request: FillRequest) -> tuple[Job, Callable[[], int]]:
        """Ask for somebody else; return the job, and what returns how many were answered between the question and its answer.

        That is counted where the answers are given. This thread may be late, and they are many.
        """
        counted: queue.SimpleQueue[int] = queue.SimpleQueue()
        with self._changed:  # an engine of this process begins no other fill meanwhile
            before, job = self.answered, engine.submit(request)
            job.future.add_done_callback(lambda _: counted.put(self.answered - before))
        return job, lambda: counted.get(timeout=_LONGEST)

    def wait_for(self, count: int) -> None:
        """Wait until so many more were answered."""
        with self._changed:
            target = self.answered + count
            if not self._changed.wait_for(lambda: self.answered >= target, _LONGEST):
                raise PalimpsestError(f"the engine did not answer {count} fills within {_LONGEST:.0f} s")

    def _ask(self) -> None:
        for client in range(len(self._engines)):
            for number in range(self._waiting):
                self._submit(client, number)
        while (ended := self._ended.get()) is not None:
            self._submit(*ended)

    def _submit(self, client: int, number: int) -> None:
        at = self._places[random.Random(f"{client} {number} {self.answered}").randrange(len(self._places))]
        request = asked(self._text, at, f"storm {client}", f"{client}/{number}.py")
        self._asked_for += 1
        job = self._jobs[client, number] = self._engines[client].submit(request)

        def ended(_: object) -> None:
            with self._changed:
                self.answered += 1
                self._changed.notify_all()
            self._ended.put((client, number))

        job.future.add_done_callback(ended)


def asked(text: str, at: int, client: str, document: str) -> FillRequest:
    """Return a request for eight tokens of the rest of a line: a storm is many fills."""
    return FillRequest(text, (Span(at, at),), document, client, "python", sizes=(8,), max_lines=1, max_steps=4)


def beside_a_storm(quiet: Engine, storming: Sequence[Engine], text: str, samples: int) -> dict[str, Any]:
    """Time a client that asks more seldom than its turn comes, alone and beside those that storm, and one that asks at once.

    quiet, storming: an engine for each client; they may be the same, and share one model in any case. Half of the time alone
    is measured before the storm and half after it. Returns figures as in `docs/json.md`.
    """
    places, chance = cursors(text, _PLACES), random.Random(0)

    def question(number: int) -> FillRequest:
        return asked(text, places[number % len(places)], "quiet", "quiet.py")

    def ask(number: int) -> float:
        begun = time.perf_counter()
        quiet.submit(question(number)).future.result(_LONGEST)
        return (time.perf_counter() - begun) * 1000

    ask(0)  # loads the model
    alone = [ask(number) for number in range(samples)]
    beside, before, eager = list[float](), list[int](), list[int]()
    storm = Storm(storming, text)
    with storm.blowing():
        for number in range(samples + EAGER):
            if number < samples:
                storm.wait_for(len(storming) + 1 + chance.randrange(REST))
                time.sleep(chance.random() * median(alone) / 1000)  # somewhere in the fill that runs
            begun = time.perf_counter()
            job, meanwhile = storm.submit(quiet, question(number))
            job.future.result(_LONGEST)
            if number < samples:
                beside.append((time.perf_counter() - begun) * 1000)
            (before if number < samples else eager).append(meanwhile())
    alone += [ask(number) for number in range(samples)]
    own, other = percentiles(alone, 50, 95), percentiles(beside, 50, 95)
    return {
        "storming": len(storming),
        "alone_ms": own,
        "beside_ms": other,
        "ratio_p50": other["p50"] / own["p50"],
        "ratio_p95": other["p95"] / own["p95"],
        "fills_before": max(before),
        "fills_before_eager": max(eager),
    }


def fairness(engines: dict[str, Engine], text: str, samples: int) -> list[dict[str, Any]]:
    """Measure each engine, with all clients in this process, and close it."""
    rows = []
    for name, engine in engines.items():
        try:
            rows.append({"engine": name} | beside_a_storm(engine, [engine] * STORMING, text, samples))
        finally:
            engine.close()
    return rows
