"""Decide whose fill is next: what a user waits for before what nobody does, one client after the other.

Knows no thread and answers nobody: `queued.py` guards it with a lock, and answers those that have to leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from palimpsest_engine.engine import Job
from palimpsest_engine.errors import FillCancelled, PalimpsestError, QueueFull
from palimpsest_engine.request import Draft

_REMEMBERED = 1024  # clients whose last turns are known
MOST = 32  # requests of a client that wait: more than a window has documents in use, and what is behind them comes too late

OnDraft = Callable[[Draft], None]
Leaving = tuple[Job, PalimpsestError]  # a job that had to leave, and its answer


class Waiting(NamedTuple):
    """A job that waits for its turn, and who watches it."""

    job: Job
    on_draft: OnDraft | None


class Turns:
    """The jobs that wait, by client.

    The clients stand in one line. Whoever has had a turn goes to the end of it when that is over, and keeps this place while
    it asks for nothing, until those before it have had theirs. A client that was not in the line, because it asks more
    seldom than its turn comes, goes before the others; but never two such turns in a row, so those in the line move on. Of
    several such clients the one whose last turn is the longest ago goes first: where others storm, some of them have just
    nothing waiting, too. most: as `MOST`.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._line: dict[str, list[Waiting]] = {}
        self._new: set[str] = set()  # clients in the line that have had no turn since they came
        self._last: dict[str, None] = {}  # clients by their last turns, the newest last
        self._served: str | None = None  # the client that has the turn
        self._overtook = False  # whether it went before others

    def __bool__(self) -> bool:
        """Return whether anybody waits."""
        return any(self._line.values())

    def put(self, job: Job, on_draft: OnDraft | None = None) -> list[Leaving]:
        """Let a job wait. Those that leave for it are returned: cancelled ones of its client, an older one for its document,
        and one if too many wait, rather one that nobody waits for."""
        client, document = job.request.identity
        if client not in self._line:
            self._new.add(client)
        own, left = self._line.get(client, []), list[Leaving]()
        for older in own:
            if document and older.job.request.document == document:
                older.job.cancel()
            if older.job.cancelled.is_set():
                left.append((older.job, FillCancelled("The fill was cancelled.")))
        staying = [each for each in own if not each.job.cancelled.is_set()]
        staying.append(Waiting(job, on_draft))
        if len(staying) > self.most:
            oldest = next((at for at, each in enumerate(staying) if each.job.request.speculative), 0)
            full = f"{self.most} newer fills wait for the engine; this one was given up."
            left.append((staying.pop(oldest).job, QueueFull(full)))
        self._line[client] = staying
        return left

    def take(self) -> Waiting | None:
        """End the last turn and return the job whose turn it is; None if nobody waits. A cancelled job comes at once, and is
        nobody's turn."""
        if self._served is not None and self._served in self._line:
            self._line[self._served] = self._line.pop(self._served)
        self._served = None
        for own in self._line.values():
            for at, each in enumerate(own):
                if each.job.cancelled.is_set():
                    return own.pop(at)
        for client in list(self._line):
            if self._line[client]:
                break
            del self._line[client]
            self._new.discard(client)
        ready = [client for client, own in self._line.items() if own]
        ready = [client for client in ready if not self._speculates(client)] or ready
        if not ready:
            return None
        client = ready[0] if self._overtook else self._seldom(ready) or ready[0]
        self._overtook = client != ready[0]
        self._new.discard(client)
        self._last.pop(client, None)
        self._last[client] = None
        if len(self._last) > _REMEMBERED:
            del self._last[next(iter(self._last))]
        self._served, own = client, self._line[client]
        return own.pop(min(range(len(own)), key=lambda at: own[at].job.request.speculative))

    def clear(self) -> list[Job]:
        """Return all jobs that wait; none of them does any more."""
        left = [each.job for own in self._line.values() for each in own]
        self._line.clear()
        self._new.clear()
        return left

    def _seldom(self, ready: list[str]) -> str | None:
        """Return which of the clients that were not in the line has waited the longest for a turn."""
        new = [client for client in ready if client in self._new]
        never = next((client for client in new if client not in self._last), None)
        return never or next((client for client in self._last if client in new), None)

    def _speculates(self, client: str) -> bool:
        return all(each.job.request.speculative for each in self._line[client])
