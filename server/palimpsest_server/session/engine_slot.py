"""Hold the engine of a session, or the reason why there is none; knows no documents."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from palimpsest_engine import Engine, EngineSettings, EngineStatus, PalimpsestError, refuse_relative
from palimpsest_server.session.jobs import Jobs

logger = logging.getLogger(__name__)

EngineFactory = Callable[[EngineSettings], Engine]

HUNG = "the engine shows no sign of life; restarting the server may help"


class EngineSlot:
    """The place for one engine. opened: None before `open`, and where opening failed. fault: why it failed.

    factory: opens it, and others.
    """

    def __init__(self, factory: EngineFactory, jobs: Jobs) -> None:
        self.opened: Engine | None = None
        self.fault = ""
        self.factory = factory
        self._jobs = jobs

    def open(self, settings: EngineSettings) -> None:
        """Open the engine unless it is open; cheap, nothing is loaded."""
        if self.opened is not None:
            return
        self.fault = ""
        try:
            refuse_relative(settings)
            self.opened = self.factory(settings)
        except PalimpsestError as error:
            self.fault = str(error)
        except Exception as error:
            logger.exception("the engine cannot be opened")
            self.fault = f"the engine cannot be opened: {type(error).__name__}"

    def close(self) -> None:
        """Close the engine, if it is open."""
        if self.opened is not None:
            self.opened.close()

    def drop(self) -> None:
        """Close the engine, if it is open, and make room for another one."""
        self.close()
        self.opened = None

    def status(self) -> EngineStatus:
        """Return what the engine says of itself, or why there is none."""
        if self.opened is None:
            return EngineStatus("error" if self.fault else "starting", self.fault)
        told = self.opened.status()
        if self._jobs.hung:
            return replace(told, state="error", reason=f"{HUNG[0].upper()}{HUNG[1:]}.")
        # The engine's thread may not have seen a job of ours yet.
        return replace(told, state="busy") if told.state == "ready" and len(self._jobs) else told
