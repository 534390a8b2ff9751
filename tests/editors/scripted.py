"""The real server, on an engine that answers from a file, so that a test decides what comes and when.

`python scripted.py FILE [options of serve]`. The file is read anew for every fill:

answers: what to write after which text; the longest key that the text before the hole ends with, counts. A list is one
answer and its alternatives; `<instruction>` in it stands for what the user said. steps, seconds: how many drafts, and how
long each takes. held: `{"after": step, "file": path}`; it goes no further while that file is there. log: jobs are written
there, a line each time one begins or ends: `{"at", "job", "document", "event": "begin" | "end", "speculative", "beside"}`.
beside: an older job of the document was running that nobody had cancelled; there never should be one.
error: the engine's state is an error, every fill fails, and this is why.
instructs: the engine says that it can be told what to do.
renamed: the next edits, once something has changed: each of these words is to read otherwise, wherever it stands.
real: the embedded checkpoint instead of all that; read when the server starts.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from palimpsest_engine import (
    CheckpointMissing,
    Draft,
    DraftPiece,
    EngineStatus,
    Fill,
    FillCancelled,
    FillRequest,
    FollowUps,
    Job,
    NextEdit,
    NextEditQuestion,
    Span,
    Verdict,
)
from palimpsest_engine.checkpoint import calibration_file
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli import main as palimpsest
from palimpsest_server.features.next_edit import answer as next_edits

NOISE = "abcdefghijklmnopqrstuvwxyz_()[]=+.:0123456789"


class Table(ScriptedEngine):
    """Answers by what stands before the hole."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._numbers = itertools.count(1)

    def status(self) -> EngineStatus:
        """As usual, or the error of the script."""
        table = json.loads(self._file.read_text("utf-8"))
        if error := table.get("error"):
            return EngineStatus("error", error, exit_code=3)
        return replace(super().status(), instructs=table.get("instructs", False))

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        """Look it up, and play it on a thread of its own."""
        table = json.loads(self._file.read_text("utf-8"))
        job = Job(request)
        with self._lock:
            older = self._latest.get(request.document)
            beside = older is not None and not older.cancelled.is_set() and not older.future.done()
            if older:
                older.cancel()
            self._latest[request.document] = job
        self._note(table, job, "begin", beside)
        threading.Thread(target=self._answer, args=(job, table, on_draft), daemon=True).start()
        return job

    def _answer(self, job: Job, table: dict[str, Any], on_draft: Callable[[Draft], None] | None) -> None:
        number, request = next(self._numbers), job.request
        choices = [_choices(table, request.text[: hole.start]) for hole in request.holes]
        texts = tuple(each[0].replace("<instruction>", request.instruction) for each in choices)
        begun, cancelled = time.perf_counter(), False
        order = [_order(random.Random(number), len(text)) for text in texts]
        steps = table.get("steps", 0)
        for step in range(1, steps + 1):
            if cancelled := job.cancelled.wait(table.get("seconds", 0.0)):
                break
            if on_draft:
                holes = (_draft(text, ranks, step / steps) for text, ranks in zip(texts, order, strict=True))
                on_draft(Draft(step, tuple(holes), step / steps))
            if cancelled := _held(table, job, step):
                break
        self._note(table, job, "end")
        if table.get("error"):
            job.future.set_exception(CheckpointMissing(table["error"]))
            return
        if cancelled:
            job.future.set_exception(FillCancelled("cancelled"))
            return
        reason = "" if any(texts) else "the script has nothing here"
        more = tuple(itertools.islice(zip(*(each[1:] for each in choices), strict=False), request.candidates - 1))
        ms = (time.perf_counter() - begun) * 1000
        verdict = Verdict("not checked", "scripted")
        job.future.set_result(Fill(texts, verdict, reason, alternatives=more, nfe=steps, ms=ms))

    def _note(self, table: dict[str, Any], job: Job, event: str, beside: bool = False) -> None:
        entry = {
            "at": time.monotonic(),
            "job": id(job),
            "document": job.request.document,
            "event": event,
            "speculative": job.request.speculative,
            "beside": beside,
        }
        with self._lock, Path(table["log"]).open("a", encoding="utf-8") as log:
            self.running += 1 if event == "begin" else -1
            log.write(json.dumps(entry) + "\n")


def _held(table: dict[str, Any], job: Job, step: int) -> bool:
    """Wait as long as it is held after that step; return whether it was cancelled meanwhile."""
    held = table.get("held")
    while held and held["after"] == step and Path(held["file"]).exists():
        if job.cancelled.wait(0.02):
            return True
    return False


def _choices(table: dict[str, Any], before: str) -> list[str]:
    keys = [key for key in table["answers"] if before.endswith(key)]
    found = table["answers"][max(keys, key=len)] if keys else ""
    return [found] if isinstance(found, str) else list(found)


def _order(chance: random.Random, length: int) -> list[int]:
    """Return the positions in the order that they settle in: roughly from the text before on, where a model is surest."""
    return sorted(range(length), key=lambda at: at + chance.uniform(0, length / 3))


def _draft(text: str, order: list[int], share: float) -> tuple[DraftPiece, ...]:
    """The text, with so much of it settled, here and there; the rest is noise."""
    settled = {at for rank, at in enumerate(order) if rank < share * len(text)}
    shown = [(c if at in settled or c.isspace() else random.choice(NOISE), at in settled) for at, c in enumerate(text)]
    runs = itertools.groupby(shown, key=lambda each: each[1])
    return tuple(DraftPiece("".join(c for c, _ in run), sure) for sure, run in runs)


def renamed(question: NextEditQuestion, names: dict[str, str]) -> FollowUps:
    """Return an edit for each place where one of the words stands."""
    edits = tuple(
        NextEdit(document.name, Span(*found.span()), new, "rename", f"`{old}` was renamed above")
        for document in question.documents
        for old, new in names.items()
        for found in re.finditer(rf"\b{old}\b", document.text)
    )
    return FollowUps(edits, reason="" if edits else "the script has nothing here")


def main() -> None:
    """Serve on standard input and output."""
    file = Path(sys.argv[1])
    table = json.loads(file.read_text("utf-8"))
    arguments = ["serve", *sys.argv[2:]]
    if not table.get("real"):
        next_edits.follow_ups = lambda question: renamed(question, json.loads(file.read_text("utf-8"))["renamed"])
        palimpsest(arguments, obj=lambda _: Table(file))
    # Without its calibration it keeps nothing back, whatever it writes; these tests look at what is shown, not at when.
    calibration_file.calibration_of = lambda source: None
    palimpsest(arguments)


if __name__ == "__main__":
    main()
