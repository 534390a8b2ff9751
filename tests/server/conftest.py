"""Engines and clients that act as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lsprotocol import types

from palimpsest_engine import Draft, DraftPiece, EngineStatus, Fill, FillRequest, Job, Verdict
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.session.session import Session


class ManualEngine:
    """Finishes a job when the test says so, from this thread."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.on_draft: list[Callable[[Draft], None] | None] = []
        self.state: Any = "ready"
        self.languages: tuple[str, ...] = ()
        self.denoises = True
        self.calibrated = self.instructs = False
        self.model = "manual"
        self.edit_languages: tuple[str, ...] | None = None
        self.warmed = self.closed = 0

    def status(self) -> EngineStatus:
        return EngineStatus(
            self.state,
            model=self.model,
            device="none",
            languages=self.languages,
            denoises=self.denoises,
            calibrated=self.calibrated,
            instructs=self.instructs,
            edit_languages=self.edit_languages,
        )

    def warm(self) -> None:
        self.warmed += 1

    def close(self) -> None:
        self.closed += 1

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        self.jobs.append(Job(request))
        self.on_draft.append(on_draft)
        return self.jobs[-1]

    def finish(self, text: str, reason: str = "", which: int = -1) -> None:
        self.jobs[which].future.set_result(Fill((text,), Verdict("not checked"), reason))

    def draft(self, text: str, step: int = 1, share: float = 0.5) -> None:
        callback = self.on_draft[-1]
        assert callback is not None
        callback(Draft(step, ((DraftPiece(text, True),),), share))


class RecordingClient:
    """Keeps all messages of the session."""

    def __init__(self) -> None:
        self.notified: list[tuple[str, dict[str, Any]]] = []
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def notify(self, method: str, params: dict[str, Any]) -> None:
        self.notified.append((method, params))

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def complain(self, message: str) -> None:
        self.errors.append(message)


@pytest.fixture
def engine() -> ManualEngine:
    return ManualEngine()


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient()


@pytest.fixture
def session(engine: ManualEngine, client: RecordingClient) -> Session:
    """A session with an open engine and the document `file:///a.py` at version 1."""
    session = Session(lambda settings: engine, client)
    session.initialize({"palimpsest": {"drafts": True, "answerWithinMs": 0}})
    session.open()
    session.documents.open(types.TextDocumentItem("file:///a.py", "python", 1, "def f():\n    \n"))
    return session


@pytest.fixture
def document(session: Session) -> Snapshot:
    snapshot = session.documents.snapshot("file:///a.py")
    assert snapshot is not None
    return snapshot
