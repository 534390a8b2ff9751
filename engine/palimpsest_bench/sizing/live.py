"""Lets simulated typists ask a real engine in real time, to compare what the simulation predicts with what is measured.

The typists are those of the simulation; the queue, the cancelling and the fills are the engine's own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from random import Random
from statistics import median

from palimpsest_bench.server.stand_ins import WRONG
from palimpsest_bench.sizing.replica import Record
from palimpsest_bench.sizing.service import Service
from palimpsest_bench.sizing.simulation import Scenario, simulate
from palimpsest_bench.sizing.tape import Tape
from palimpsest_bench.sizing.typist import Ask, Typist
from palimpsest_engine import Draft, Engine, EngineStatus, Fill, FillCancelled, FillRequest, Job, Span, Verdict
from palimpsest_engine.errors import PalimpsestError
from palimpsest_engine.runtime.queued import QueuedEngine

_LONGEST = 12  # lines on a line of their own


class Fixed:
    """Answers each request after so many steps of the same time: an engine whose service time is known."""

    def __init__(self, steps: int, step_seconds: float) -> None:
        self.status = EngineStatus("ready", model="fixed", device="none")
        self._steps, self._step_seconds = steps, step_seconds

    def open(self) -> None:
        """Do nothing."""

    def rehearse(self, cancelled: Callable[[], bool]) -> None:
        """Do nothing."""

    def fill(self, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
        """Sleep through the steps; end between two of them."""
        begun = time.monotonic()
        for step in range(1, self._steps + 1):
            if cancelled():
                raise FillCancelled("The fill was cancelled.")
            time.sleep(max(0.0, begun + step * self._step_seconds - time.monotonic()))
        took = 1000 * (time.monotonic() - begun)
        yield Fill((WRONG,), Verdict("not checked", "fixed"), nfe=self._steps, ms=took)

    def close(self) -> None:
        """Do nothing."""


def fixed_engine(steps: int, step_seconds: float) -> Engine:
    """Return an engine with a queue as the real one has, and a service time that is known."""
    return QueuedEngine(lambda: Fixed(steps, step_seconds), "", "", "palimpsest-fixed")


def request_for(ask: Ask) -> FillRequest:
    """Return the request that the server would make of a question."""
    text, offset = ask.tape.texts[ask.moment]
    if ask.key[0] == "behind":
        text, offset = text[:offset] + WRONG + text[offset:], offset + len(WRONG)
    line = text[text.rfind("\n", 0, offset) + 1 : offset] + text[offset:].partition("\n")[0]
    return FillRequest(
        text,
        (Span(offset, offset),),
        document=f"file:///typist/{ask.client}/{ask.document}",
        client=str(ask.client),
        language=ask.tape.language,
        max_lines=1 if line.strip() else _LONGEST,
        speculative=ask.speculative,
        tidy=True,
    )


def service_of(engine: Engine, tapes: Sequence[Tape], fills: int, machine: str) -> Service:
    """Measure how long an engine takes for the questions of typists, one after the other and none of them cancelled.

    What a document costs that was not read before is measured on some of the same questions under new names.
    """
    asks = _questions(tapes, fills)
    filled = [(ask, engine.submit(request_for(ask)).future.result()) for ask in asks]
    seen = set[int]()
    warm = [fill for ask, fill in filled if ask.document in seen or seen.add(ask.document)]  # type: ignore[func-returns-value]
    extra = list[float]()
    for number, ask in enumerate(asks[:: max(1, len(asks) // 12)]):
        request = replace(request_for(ask), document=f"cold/{number}")
        first, again = (engine.submit(request).future.result().ms for _ in range(2))
        extra.append(first - again)
    steps = [fill.ms / fill.nfe for fill in warm if fill.nfe]
    return Service(
        engine.status().model or "the model",
        machine,
        f"{len(warm)} fills of the questions of the typing sessions, one after the other and to their end",
        "",
        tuple(round(fill.ms, 2) for fill in warm),
        round(median(steps), 2) if steps else 0.0,
        round(max(0.0, median(extra)), 2),
    )


def both(one: Service, other: Service) -> Service:
    """Return the service times of two measurements of the same model, as one."""
    return replace(
        one,
        measured=f"{one.measured}; twice",
        fill_ms=one.fill_ms + other.fill_ms,
        step_ms=(one.step_ms + other.step_ms) / 2,
        cold_ms=(one.cold_ms + other.cold_ms) / 2,
    )


def _questions(tapes: Sequence[Tape], count: int) -> list[Ask]:
    """Return what one typist after the other would ask, a part of each session."""
    guess, found = Service("", "", "", "", (100.0,), 10.0), list[Ask]()
    for number, tape in enumerate(tapes):
        scenario = Scenario(1, 1, 1.0, seconds=tape.seconds / 2, settling=0.0, seed=number)
        asked = [ask for ask in simulate(scenario, guess, (tape,)).asks if ask.document == 1]
        found += [replace(ask, document=number) for ask in asked[: count // len(tapes)]]
    return found


def type_for_real(engine: Engine, tapes: Sequence[Tape], typists: int, seconds: float, seed: int = 0) -> Record:
    """Let so many typists type for some time, each in documents of its own. Returns what happened."""
    return asyncio.run(_Live(engine, tapes, typists, seconds, seed).run())


class _Live:
    """The office of typists who ask a real engine; lives on an event loop."""

    def __init__(self, engine: Engine, tapes: Sequence[Tape], typists: int, seconds: float, seed: int) -> None:
        self._engine, self._tapes, self._count, self._seconds = engine, tapes, typists, seconds
        self._random = Random(seed)
        self._documents = 0
        self._typists = dict[int, Typist]()
        self._failed: PalimpsestError | None = None
        self._jobs = dict[Ask, Job]()

    async def run(self) -> Record:
        self._loop = asyncio.get_running_loop()
        self.record = Record(self.now(), self._seconds)
        for client in range(self._count):
            self._open(client, first=None)
        await asyncio.sleep(self._seconds)
        self.record.typing = self._count * self._seconds
        for client in list(self._typists):
            self._leave(client)
        if self._failed is not None:
            raise self._failed
        return self.record

    def now(self) -> float:
        return time.monotonic()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._loop.call_later(seconds, call)

    def submit(self, ask: Ask) -> None:
        self.record.asks.append(ask)
        job = self._jobs[ask] = self._engine.submit(request_for(ask))

        def done(future: Future[Fill]) -> None:
            ended = time.monotonic()
            with suppress(RuntimeError):  # the loop is closed: the time was up
                self._loop.call_soon_threadsafe(self._done, ask, future, ended)

        job.future.add_done_callback(done)

    def cancel(self, ask: Ask) -> None:
        ask.outcome, ask.ended = "cancelled", self.now()
        self._jobs[ask].cancel()

    def _done(self, ask: Ask, future: Future[Fill], ended: float) -> None:
        self._jobs.pop(ask, None)
        if ask.outcome:
            return  # cancelled by the typist
        typist = self._typists[ask.client]
        try:
            fill = future.result()
        except FillCancelled:
            ask.outcome, ask.ended = "cancelled", ended
            typist.given_up(ask)
        except PalimpsestError as error:
            self._failed = error
        else:
            ask.outcome, ask.ended, ask.begun = "answered", ended, ended - fill.ms / 1000
            self.record.busy += fill.ms / 1000
            self.record.ahead += fill.ms / 1000 if ask.speculative else 0.0
            typist.answered(ask)

    def _open(self, client: int, first: int | None) -> None:
        self._documents += 1
        tape = self._random.choice(self._tapes)
        at = self._random.randrange(len(tape.moments)) if first is None else first

        def on() -> None:
            self._leave(client)
            self._open(client, first=0)

        typist = Typist(self, client, self._documents, tape, at, on)
        self._typists[client] = typist
        typist.begin()

    def _leave(self, client: int) -> None:
        typist = self._typists[client]
        typist.stop()
        self.record.keystrokes += typist.keystrokes
        self.record.refused += typist.refused
