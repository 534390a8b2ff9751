"""Watch what becomes of suggestions: one is pending a place at a time, until it is taken, refused, typed over or ignored.

It lives on the event loop. Only numbers and kinds leave it, and only for the file on this machine (`status/tally.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from palimpsest_server.documents.marks import Mark
from palimpsest_server.documents.store import Documents, Snapshot
from palimpsest_server.status import rates, tally
from palimpsest_server.status.tally import Event, Outcome, What

logger = logging.getLogger(__name__)

_KEPT_SECONDS = 30.0
_WRITE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A suggestion that was shown. id: equal for the same one. text, place: of a completion, what it inserts and where."""

    id: str
    what: What
    language: str
    kind: str
    certainty: str
    ms: float
    document: Snapshot | None = None
    text: str = ""
    place: int = 0


class Outcomes:
    """The suggestions that are pending, and those that were just accepted.

    enabled: the setting `statistics`. held_back: the kinds of next edits that were taken too seldom. write: runs a call off
    the event loop.
    """

    def __init__(self, documents: Documents, write: Callable[..., Awaitable[None]]) -> None:
        self.enabled = True
        self.held_back: frozenset[rates.Kind] = frozenset()
        self._documents = documents
        self._write = write
        self._pending: dict[tuple[str, What], Shown] = {}
        self._accepted: dict[str, tuple[Shown, asyncio.TimerHandle]] = {}
        self._events: list[Event] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._writing: asyncio.Task[None] | None = None

    # Next edits and completions

    def shown(self, uri: str, shown: Shown) -> None:
        """Note what is shown in a document; what was shown there before is ignored, unless it is the same."""
        older = self._pending.get((uri, shown.what))
        if older is not None and older.id == shown.id:
            return
        if older is not None:
            self._end(older, "ignored")
        if self.enabled:
            self._pending[uri, shown.what] = shown

    def ended(self, id_: str, outcome: Outcome) -> None:
        """Note the outcome of what is pending; anything else is no news."""
        for key, each in self._pending.items():
            if each.id == id_:
                del self._pending[key]
                self._end(each, outcome)
                return

    def accepted(self, id_: str, mark: Mark) -> None:
        """Note that something was accepted, and look after a while whether it still stands at the mark."""
        for key, each in self._pending.items():
            if each.id == id_:
                del self._pending[key]
                if (older := self._accepted.pop(id_, None)) is not None:
                    older[1].cancel()
                    self._end(older[0], "accepted")
                later = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._look, id_, mark)
                self._accepted[id_] = replace(each, document=None, text=""), later  # no text is needed any more
                return

    def undone(self, id_: str) -> None:
        """Note that something was accepted and taken back."""
        if (found := self._accepted.pop(id_, None)) is not None:
            found[1].cancel()
            self._end(found[0], "changed")

    def forget(self, uri: str) -> None:
        """Note that a document was closed: what was shown in it is ignored."""
        for key in [each for each in self._pending if each[0] == uri]:
            self._end(self._pending.pop(key), "ignored")

    def moved_on(self, document: Snapshot) -> None:
        """Look whether a change of a document accepts the pending completion, types along it, or over it."""
        pending = self._pending.get((document.uri, "completion"))
        if pending is None or pending.document is None:
            return
        more = len(document.content) - len(pending.document.content)
        written = document.content.slice(pending.place, pending.place + max(0, min(more, len(pending.text))))
        if more == len(pending.text) and written == pending.text:
            mark = self._documents.marks.add(document.uri, pending.place, pending.place + more)
            self.accepted(pending.id, mark)
        elif not (0 < more < len(pending.text) and pending.text.startswith(written)):
            self.ended(pending.id, "typedOver")

    # The file

    async def open(self) -> None:
        """Learn from the file what is to be held back."""
        await self._write(self._learn)

    def close(self) -> None:
        """Write what there is, for good; accepted ones that nobody has looked at again count as accepted."""
        self._closed = True
        for shown, later in self._accepted.values():
            later.cancel()
            self._end(shown, "accepted")
        self._accepted.clear()
        for each in self._pending.values():
            self._end(each, "ignored")
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._keep(self._taken())

    def _look(self, id_: str, mark: Mark) -> None:
        shown, _ = self._accepted.pop(id_)
        self._end(shown, "changed" if mark.gone else "kept")

    def _end(self, shown: Shown, outcome: Outcome) -> None:
        if not self.enabled:
            return
        now = time.time()
        names = (tally.named(each) for each in (shown.language, shown.kind, shown.certainty))
        language, kind, certainty = names
        event = Event(
            int(now // 86_400),
            time.localtime(now).tm_hour,
            shown.what,
            language,
            kind,
            certainty,
            tally.bucket(shown.ms),
            outcome,
        )
        self._events.append(event)
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._writing = asyncio.ensure_future(self._write(self._keep, self._taken()))

    def _taken(self) -> tuple[Event, ...]:
        events, self._events = tuple(self._events), []
        return events

    def _keep(self, events: tuple[Event, ...]) -> None:
        """Write events, off the event loop; a file that cannot be written is said once and changes nothing."""
        if not events:
            return
        try:
            tally.add(events)
        except OSError as error:
            self.enabled = False
            logger.warning("what became of suggestions cannot be counted: %s", error.strerror or error)

    def _learn(self) -> None:
        try:
            self.held_back = rates.held_back(tally.read())
        except OSError as error:
            logger.warning("the file of outcomes cannot be read: %s", error.strerror or error)
