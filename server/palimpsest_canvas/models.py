"""The engines of the page: the one it was opened with, and one for another model that the user picks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from palimpsest_engine import Engine, EngineSettings, EngineStatus, PalimpsestError

EngineFactory = Callable[[EngineSettings], Engine]
EMBEDDED = "embedded"


class First(Protocol):
    """The engine that a page is opened with. An editor may replace it while the page is open."""

    def engine(self) -> Engine:
        """Return it. Raises PalimpsestError if there is none."""
        ...

    def status(self) -> EngineStatus:
        """Return what it says of itself, or why there is none."""
        ...

    def settings(self) -> EngineSettings:
        """Return its settings."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine that stays the same."""

    opened: Engine
    of: EngineSettings

    def engine(self) -> Engine:
        """Return it."""
        return self.opened

    def status(self) -> EngineStatus:
        """Return what it says of itself."""
        return self.opened.status()

    def settings(self) -> EngineSettings:
        """Return its settings."""
        return self.of


class Models:
    """Finds the engine of a model. Of other models than the first, one is open at a time."""

    def __init__(self, first: First, factory: EngineFactory) -> None:
        self.first, self._factory = first, factory
        self._other: tuple[str, Engine] | None = None

    def status(self) -> EngineStatus:
        """Return what the first engine says of itself."""
        return self.first.status()

    def names(self) -> list[str]:
        """Return the names of the installed models."""
        from palimpsest_engine.checkpoint import store

        try:
            return [EMBEDDED, *store.names()]
        except PalimpsestError:  # the folder of models is misnamed: only `embedded` can be had
            return [EMBEDDED]

    def engine(self, name: str | None) -> Engine:
        """Return the engine of a model, None for the first one. Raises PalimpsestError."""
        settings = self.first.settings()
        if name is None or (settings.endpoint is None and name == _named(settings)):
            return self.first.engine()
        if name not in self.names():
            raise PalimpsestError("There is no such model on this machine; `palimpsest models list` shows them.")
        if self._other is not None and self._other[0] == name:
            return self._other[1]
        self.close()
        plain = replace(settings, checkpoint=name, adapter=None, endpoint=None, edit=None, fallback=False)
        engine = self._factory(plain)
        self._other = (name, engine)
        return engine

    def close(self) -> None:
        """Close the engine of the other model. The first one belongs to whoever opened it."""
        if self._other is not None:
            self._other[1].close()
            self._other = None


def _named(settings: EngineSettings) -> str:
    """Return the name of a checkpoint, which without one is the one that the user has chosen."""
    from palimpsest_engine.checkpoint import store

    if settings.checkpoint is not None:
        return settings.checkpoint
    try:
        return store.chosen() or EMBEDDED
    except PalimpsestError:
        return ""
