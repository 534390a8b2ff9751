"""An engine that answers from a script, one request after the other like a real one: to measure everything but the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from palimpsest_engine import Draft, DraftPiece, Engine, EngineStatus, Fill, FillCancelled, FillRequest, Verdict


class _Script:
    """Fills every hole with one text, in so many steps of so many seconds."""

    def __init__(self, text: str, steps: int, step_seconds: float) -> None:
        self._text, self._steps, self._step_seconds = text, steps, step_seconds
        self.status = EngineStatus("ready", model="scripted", device="none")

    def open(self) -> None:
        """Load nothing."""

    def rehearse(self, cancelled: Callable[[], bool]) -> None:
        """Prepare nothing."""

    def fill(self, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
        """Yield a draft a step, then the text."""
        begun = time.perf_counter()
        for step in range(1, self._steps + 1):
            time.sleep(self._step_seconds)
            if cancelled():
                raise FillCancelled("cancelled")
            shown = self._text[: len(self._text) * step // self._steps]
            yield Draft(step, ((DraftPiece(shown, True),),) * len(request.holes), step / self._steps)
        ms = (time.perf_counter() - begun) * 1000
        yield Fill((self._text,) * len(request.holes), Verdict("not checked", "scripted"), nfe=self._steps, ms=ms)

    def close(self) -> None:
        """Release nothing."""


def scripted_engine(text: str, steps: int, step_seconds: float) -> Engine:
    """Return an engine with the queue of a real one."""
    from palimpsest_engine.runtime.queued import QueuedEngine

    return QueuedEngine(lambda: _Script(text, steps, step_seconds), "", "", "palimpsest-script")
