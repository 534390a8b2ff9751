"""Answer from a script: for protocol tests, and to measure everything but the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from palimpsest_engine.engine import EngineState, EngineStatus, Job
from palimpsest_engine.errors import FillCancelled, LanguageUnknown, PalimpsestError
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest, Verdict
from palimpsest_engine.runtime.scripted_frames import ScriptedFrames
from palimpsest_engine.syntax.language_ids import untrained


class ScriptedEngine:
    """Answers every hole with the next text of `script` (the last one for ever after).

    steps: drafts shown before the answer; step_seconds: time each of them takes. error: raised instead of an answer.
    A request with a trace gets frames; one with a start, its pieces and the words of the script.
    languages: of the model that it stands for; empty for all. edits: it can say what follows from a change.
    `started`, `running` and `most_running` count jobs, for tests of latest-wins. Whoever sees that a job no longer runs sees
    that it was cancelled, too; and a job that runs has read how many steps it takes.
    """

    def __init__(
        self,
        script: Sequence[str] = ("pass",),
        *,
        steps: int = 0,
        step_seconds: float = 0.0,
        error: PalimpsestError | None = None,
        languages: Sequence[str] = (),
        edits: bool = False,
    ) -> None:
        self.script = list(script)
        self.steps = steps
        self.step_seconds = step_seconds
        self.error = error
        self.languages = tuple(languages)
        self.edits = edits
        self.started = self.running = self.most_running = self.cancelled = 0
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str], Job] = {}

    def status(self) -> EngineStatus:
        """Return ready or busy; never loading."""
        state: EngineState = "busy" if self.running else "ready"
        return EngineStatus(state, model="scripted", device="none", languages=self.languages, edits=self.edits)

    def warm(self) -> None:
        """Load nothing."""

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        """Run the script for this request on a thread of its own, or at once if it takes no time."""
        job = Job(request)
        with self._lock:
            if request.document and (older := self._latest.get(request.identity)):
                older.cancel()
            self._latest[request.identity] = job
            text = self.script[min(self.started, len(self.script) - 1)]
            self.started += 1
        if self.steps and self.step_seconds:
            threading.Thread(target=self._play, args=(job, text, on_draft), daemon=True).start()
        else:
            self._play(job, text, on_draft)
        return job

    def close(self) -> None:
        """Cancel the running jobs."""
        with self._lock:
            for job in self._latest.values():
                job.cancel()

    def _play(self, job: Job, text: str, on_draft: Callable[[Draft], None] | None) -> None:
        steps = self.steps
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        begun, request = time.perf_counter(), job.request
        # Words stand in for tokens, so a request is shown at work like a model's.
        frames = ScriptedFrames(request, self.script, text) if request.trace or request.start else None
        text = text if frames is None else frames.text
        verdict = Verdict("not checked", "scripted")
        try:
            for step in range(1, steps + 1):
                if job.cancelled.wait(self.step_seconds):
                    raise FillCancelled("cancelled")
                shown = len(text) * step // steps
                pieces = (DraftPiece(text[:shown], True), DraftPiece("?" * (len(text) - shown), False))
                if on_draft:
                    ms, frame = (time.perf_counter() - begun) * 1000, None
                    if frames is not None and request.trace:
                        frame = frames.frame(step, steps, ms)
                    holes, written = (pieces,) * len(request.holes), request.left_to_right
                    on_draft(Draft(step, holes, step / steps, written, frame))
            if self.error:
                raise self.error
            reason = untrained("scripted", self.languages, request.language, request.path)
            if reason and not request.any_language:
                raise LanguageUnknown(reason)
            ms = (time.perf_counter() - begun) * 1000
            reason = "" if text else "the script has nothing here"
            fill = Fill(
                (text,) * len(request.holes),
                verdict,
                reason,
                nfe=steps,
                ms=ms,
                traced=frames.traced(verdict, ms) if frames is not None and request.trace else None,
            )
            with self._lock:
                self.running -= 1
            job.future.set_result(fill)
        except PalimpsestError as error:
            with self._lock:
                self.cancelled += isinstance(error, FillCancelled)
                self.running -= 1
            job.future.set_exception(error)
        finally:
            with self._lock:
                if self._latest.get(job.request.identity) is job:
                    del self._latest[job.request.identity]
