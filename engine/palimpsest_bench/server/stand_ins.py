"""Engines that stand in for the model while everything else is measured; knows nothing of LSP.

`python -m palimpsest_bench.server.stand_ins JSON` runs the real server on one of them.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from palimpsest_engine import Draft, FillRequest, Job
from palimpsest_engine.runtime.scripted import ScriptedEngine

WRONG = "wrong_all_the_same()"


class Foresight(ScriptedEngine):
    """Knows the final text: suggests the right rest of the line for a share of the lines, and otherwise a wrong one."""

    def __init__(self, text: str, share: float, **script: Any) -> None:
        super().__init__([WRONG], **script)
        self._text = text
        self._share = share

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        """Look up the place, and play the answer."""
        self.script = [self.rest_of_line(request.text, request.holes[0].start)]
        return super().submit(request, on_draft)

    def rest_of_line(self, text: str, cursor: int) -> str:
        """Return the text that will be written between the cursor and the rest of its line."""
        before = text[max(0, cursor - 40) : cursor]
        found = self._text.find(before)
        if found < 0:
            return WRONG
        cut = found + len(before)
        start = self._text.rfind("\n", 0, cut) + 1
        end = self._text.find("\n", cut)
        line = self._text[start : end if end >= 0 else None]
        if zlib.crc32(line.encode()) % 1000 >= 1000 * self._share:
            return WRONG
        behind = text[cursor:].split("\n", 1)[0]
        rest = line[cut - start :]
        return rest.removesuffix(behind) or WRONG


class Counting(ScriptedEngine):
    """Notes when each step of each job began, and writes the notes to a file when it is closed.

    Each job is a line: `[length of the text, [seconds of the monotonic clock, ...]]`. The length identifies the keystroke.
    """

    def __init__(self, log: str, **script: Any) -> None:
        super().__init__([WRONG], **script)
        self._log = Path(log)
        self._jobs: list[tuple[int, list[float]]] = []

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        """Play the answer, and take notes unless the job is speculative."""
        begun = [time.monotonic()]
        if not request.speculative:
            self._jobs.append((len(request.text), begun))
        job: Job | None = None

        def drafted(draft: Draft) -> None:
            if on_draft:
                on_draft(draft)
            if draft.step < self.steps and not (job and job.cancelled.is_set()):
                begun.append(time.monotonic())

        job = super().submit(request, drafted)
        return job

    def close(self) -> None:
        """Cancel the running job, and write the notes."""
        super().close()
        self._log.write_text("".join(f"{json.dumps(job)}\n" for job in self._jobs), "utf-8")


KINDS: dict[str, Callable[..., ScriptedEngine]] = {
    "scripted": ScriptedEngine,
    "foresight": Foresight,
    "counting": Counting,
}


def command(kind: str, **settings: Any) -> tuple[str, ...]:
    """Return the command line of a server on a stand-in."""
    return (sys.executable, "-m", __name__, json.dumps({"kind": kind, **settings}))


def main() -> None:
    """Run the server on standard input and output."""
    from palimpsest_server.cli import main as palimpsest

    settings = json.loads(sys.argv[1])
    kind = KINDS[settings.pop("kind")]
    palimpsest(["serve"], obj=lambda _: kind(**settings))


if __name__ == "__main__":
    main()
