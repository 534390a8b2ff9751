"""All that one page shows: the document, the models, the runs, and who listens; lives on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from palimpsest_api.exchange import event
from palimpsest_api.limits import Limits
from palimpsest_canvas.asked import Asked, request_of
from palimpsest_canvas.document import Document, Origin, Target
from palimpsest_canvas.models import Models
from palimpsest_canvas.runs import Run, Runs
from palimpsest_engine import EngineStatus, PalimpsestError

_LOOK_SECONDS = 0.5  # between two looks at the model's state: no engine tells when it changes
_BEHIND = 200  # events that a listener may be behind
_UNNAMED = "untitled"


@dataclass(eq=False)
class Listener:
    """A page that is open. news: events that it has not been sent."""

    news: list[bytes]
    came: asyncio.Event


class Canvas:
    """The state behind the page. `desk` of the application: the part that the server ends.

    listened: whether a page is open.
    """

    def __init__(
        self, models: Models, origin: Origin, document: Document | None = None, limits: Limits | None = None
    ) -> None:
        self.models, self.origin, self.document = models, origin, document
        self.limits = limits or Limits(connections=64)
        self.runs = Runs(lambda run: self._tell("run", run.as_value()))
        self._listeners: set[Listener] = set()
        self._ended = False

    @property
    def listened(self) -> bool:
        """Return whether a page is open. May be asked from any thread."""
        return bool(self._listeners)

    async def status(self) -> EngineStatus:
        """Return what the engine says of itself."""
        return self.models.status()

    async def warm(self) -> None:
        """Begin loading the model, if that has not begun."""
        with suppress(PalimpsestError):  # the page shows that there is no engine, and why
            self.models.first.engine().warm()

    def end(self) -> None:
        """End all runs, and let the pages know that nothing more comes."""
        self._ended = True
        self.runs.end()
        for listener in self._listeners:
            listener.came.set()
        self.models.close()

    def show(self, document: Document) -> None:
        """Show another document."""
        self.document = document
        self._tell("state", {})

    def state(self) -> dict[str, object]:
        """Return what `GET /api/state` says."""
        told = self.models.status()
        return {
            "model": told.model,
            "device": told.device,
            "state": told.state,
            "reason": told.reason,
            "denoises": told.denoises,
            "writes": told.writes,
            "models": self.models.names(),
            "editor": self.origin.editor,
            "document": None if self.document is None else self.document.as_value(),
            "runs": self.runs.as_values(),
        }

    def fill(self, asked: Asked) -> Run:
        """Begin a fill. Raises Refusal or PalimpsestError."""
        name = asked.name or _UNNAMED
        # Of one document the newest fill wins; an editor's own requests have another identity.
        request = request_of(asked, f"canvas:{asked.uri or name}")
        engine = self.models.engine(asked.model)
        told = engine.status()
        base = 0 if asked.uri is None else self.origin.base_of(asked.uri, asked.version)
        target = Target(asked.uri, asked.version, base, asked.text, request.holes)
        run = Run(request, name, "page", told.model, told.device, target)
        self.runs.start(run, engine, request, beside=asked.beside)
        return run

    async def events(self) -> AsyncIterator[bytes]:
        """Yield an event for each run that begins, and for each change of the document or the model's state."""
        listener = Listener([], asyncio.Event())
        self._listeners.add(listener)
        seen = self._seen()
        try:
            yield b": hello\n\n"
            while not self._ended:
                with suppress(TimeoutError):
                    await asyncio.wait_for(listener.came.wait(), _LOOK_SECONDS)
                listener.came.clear()
                if (now := self._seen()) != seen:
                    seen = now
                    yield event({}, "state")
                while listener.news:
                    yield listener.news.pop(0)
        finally:
            self._listeners.discard(listener)

    def _seen(self) -> tuple[object, ...]:
        told = self.models.status()
        return told.state, told.reason, told.model, told.device

    def _tell(self, name: str, value: object) -> None:
        for listener in self._listeners:
            if len(listener.news) < _BEHIND:
                listener.news.append(event(value, name))
            listener.came.set()
