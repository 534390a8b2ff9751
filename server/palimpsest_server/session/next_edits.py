"""Know the next edits that were offered: which are to be refused or to rest, and which change of a document is one of them.

It lives on the event loop and knows nothing of LSP.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from palimpsest_engine import NextEdit
from palimpsest_server.documents.latest import Latest
from palimpsest_server.documents.marks import Mark
from palimpsest_server.documents.rope import Text
from palimpsest_server.documents.store import Documents
from palimpsest_server.session.outcomes import Outcomes, Shown

Why = Literal["refused", "typedOver", "left"]

_KNOWN = 256
_TIMES = 3  # an edit that was seen so often and not taken rests
_REST_SECONDS = 300.0


@dataclass(slots=True, eq=False)
class Known:
    """A next edit that was offered. mark: its place. was: the text there. seen: the versions in which it was shown.

    refused: never to be offered again. rests: until then. taken: it was applied, and the mark is where its text stands.
    place: where it was applied. ahead: the size of its beginning that the change left out, as both sides have it in common.
    ms: the time it took.
    """

    id: str
    uri: str
    mark: Mark
    was: str
    edit: NextEdit
    seen: set[int]
    refused: bool = False
    rests: float = 0.0
    taken: bool = False
    place: tuple[int, int] = (0, 0)
    ahead: int = 0
    ms: float = 0.0

    def is_about(self, edit: NextEdit) -> bool:
        """Return whether it is the same edit in the same place, wherever that has moved to."""
        here = (
            not self.taken
            and not self.mark.gone
            and (self.mark.start, self.mark.end) == (edit.span.start, edit.span.end)
        )
        return here and self.uri == edit.document and self.edit.text == edit.text


class NextEdits:
    """The next edits of one session. tells: the client says what it shows. asks: it asks for them, and needs no action."""

    def __init__(self, documents: Documents, outcomes: Outcomes, clock: Callable[[], float] = monotonic) -> None:
        self.tells = self.asks = False
        self._documents = documents
        self._outcomes = outcomes
        self._clock = clock
        self._known = Latest[str, Known](_KNOWN)
        self._numbers = itertools.count(1)
        self._asked: dict[str, asyncio.Future[None]] = {}
        documents.changes.accepts = self._applied_by
        documents.changes.accepted = self._taken
        documents.changes.undone = self._undone

    # Requests

    def ask(self, uri: str) -> asyncio.Future[None]:
        """Begin a request for a document; return a future that is done once a newer one has begun."""
        self.supersede(uri)
        self._asked[uri] = asyncio.get_running_loop().create_future()
        return self._asked[uri]

    def supersede(self, uri: str) -> None:
        """End the document's request, if one is under way."""
        if (older := self._asked.pop(uri, None)) is not None and not older.done():
            older.set_result(None)

    def done(self, uri: str, asked: asyncio.Future[None]) -> None:
        """End a request."""
        if self._asked.get(uri) is asked:
            del self._asked[uri]

    # Edits

    def known(self, edit: NextEdit, content: Text) -> Known:
        """Return what is known of an edit of the present text; it is new if nothing is."""
        found = next((each for each in self._known.values() if each.is_about(edit)), None)
        if found is None:
            mark = self._documents.marks.add(edit.document, edit.span.start, edit.span.end)
            was = content.slice(edit.span.start, edit.span.end)
            found = Known(f"n{next(self._numbers)}", edit.document, mark, was, edit, set())
        found.edit = edit
        return found

    def silence(self, known: Known) -> str:
        """Return why an edit is not to be offered, or ""."""
        if known.refused:
            return "it was refused before"
        return "it was shown and not taken, and rests for a while" if known.rests > self._clock() else ""

    def offered(self, known: Known, version: int, *, shown: bool) -> None:
        """Note that an edit goes out, for a version of its document. shown: a client that says nothing of it shows it."""
        self._known[known.id] = known
        if shown and not self.tells:
            self._saw(known, version)

    def shown(self, id_: str) -> None:
        """Note that the client has shown an edit."""
        self.tells = True
        if (known := self._known.get(id_)) is not None and (document := self._documents.snapshot(known.uri)):
            self._saw(known, document.version)

    def accepted(self, id_: str) -> None:
        """Note that an edit was accepted. What it became is seen by the change that it makes; else this is all there is."""
        if (known := self._known.get(id_)) is not None and not known.taken:
            self._outcomes.ended(id_, "accepted")

    def refuse(self, id_: str) -> None:
        """Never offer an edit again: it was refused, or undone."""
        if (known := self._known.get(id_)) is not None:
            known.refused = True
            known.rests = 0.0

    def closed(self, id_: str, why: Why) -> None:
        """Note why an edit is not shown any more."""
        self._outcomes.ended(id_, "ignored" if why == "left" else why)
        if why == "refused":
            self.refuse(id_)

    def forget(self, uri: str) -> None:
        """Forget a document, which was closed."""
        self.supersede(uri)
        for each in [known for known in self._known.values() if known.uri == uri]:
            del self._known[each.id]

    def _taken(self, id_: str, start: int) -> None:
        """Note that an edit was applied by a change that begins there: its text has taken the place of what it replaces."""
        known = self._known[id_]
        known.ahead = start - known.place[0]
        known.mark = self._documents.marks.add(known.uri, known.place[0], known.place[0] + len(known.edit.text))
        known.taken = True
        self._outcomes.accepted(id_, known.mark)

    def _undone(self, id_: str, start: int) -> None:
        """Refuse an edit that was undone: what it replaced stands there again."""
        if (known := self._known.get(id_)) is not None:
            known.mark = self._documents.marks.add(known.uri, start - known.ahead, start - known.ahead + len(known.was))
            known.taken = False
            self._outcomes.undone(id_)
            self.refuse(id_)

    def _saw(self, known: Known, version: int) -> None:
        known.seen.add(version)
        if (document := self._documents.snapshot(known.uri)) is not None:
            edit = known.edit
            shown = Shown(known.id, "nextEdit", document.language, edit.kind, edit.certainty, known.ms)
            self._outcomes.shown(known.uri, shown)
        if len(known.seen) >= _TIMES:
            known.seen.clear()
            known.rests = self._clock() + _REST_SECONDS

    def _applied_by(self, uri: str, old: Text, start: int, end: int, text: str) -> str:
        """Return the id of the edit that a change of a document is, in whatever form the client tells it; "" if none is."""
        for each in self._known.values():
            if each.uri == uri and not each.taken and not each.mark.gone and _same(each, old, start, end, text):
                each.place = each.mark.start, each.mark.end
                return each.id
        return ""


def _same(known: Known, old: Text, start: int, end: int, text: str) -> bool:
    """Return whether a change makes the same text of `old` as an edit: clients leave out what both sides have in common."""
    first, last = known.mark.start, known.mark.end
    if len(text) - (end - start) != len(known.edit.text) - (last - first) or end < first or last < start:
        return False
    low, high = min(start, first), max(end, last)
    one = old.slice(low, start) + text + old.slice(end, high)
    return one == old.slice(low, first) + known.edit.text + old.slice(last, high)
