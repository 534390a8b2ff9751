"""Ask a model where syntax decides nothing, as the server does."""

from __future__ import annotations

import time

from palimpsest_engine import Engine, EngineSettings, EngineStatus, edits_of, follow_ups, open_engine, window_request
from palimpsest_engine.changes import NextEdit, NextEditQuestion
from palimpsest_engine.errors import PalimpsestError


class ByModel:
    """Proposes what syntax decides or, where that is nothing, what a model expects."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def named(cls, model: str) -> ByModel:
        """Open a model. Raises PalimpsestError if that fails, or if it was not taught to follow a change."""
        found = cls(open_engine(EngineSettings(checkpoint=model)))
        found.opened()
        return found

    def __call__(self, question: NextEditQuestion) -> tuple[NextEdit, ...]:
        """Return the edits, the best first."""
        found = follow_ups(question)
        if any(each.certainty != "possible" for each in found.edits):
            return found.edits
        place = found.places[0] if found.places else None
        request = window_request(question, place)
        if request is None:
            return found.edits
        fill = self.engine.submit(request).future.result()
        return (*edits_of(question, request, fill, place), *found.edits)

    def opened(self) -> EngineStatus:
        """Wait until the model is loaded."""
        self.engine.warm()
        while (status := self.engine.status()).state in ("starting", "loading"):
            time.sleep(0.05)
        if status.state == "error":
            raise PalimpsestError(status.reason)
        if not status.edits:
            raise PalimpsestError(f"{status.model} was not taught to follow a change")
        return status
