"""Choose context off the event loop, and keep the choice during typing on one line; `choose` makes the choice."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice, takewhile
from time import monotonic

from lsprotocol import types

from palimpsest_engine import warm_parser
from palimpsest_server.context.choose import Around, Chosen, Document, Question, choose
from palimpsest_server.documents.latest import Latest
from palimpsest_server.documents.store import Documents, Snapshot

logger = logging.getLogger(__name__)

_KEPT = 16
_SECONDS = 0.1  # for one choice
_BEFORE = 2_000  # characters: a change further up changes no choice


def around(document: Snapshot, documents: Documents, diagnostics: tuple[types.Diagnostic, ...], most: int) -> Around:
    """Return the surroundings of a document just now; of other documents the `most` latest."""
    notebook = documents.notebook_of(document.uri)
    cells = takewhile(lambda cell: cell.uri != document.uri, notebook)
    own = {cell.uri for cell in notebook} | {document.uri}
    others = islice((each for each in documents.recent() if each.uri not in own), most)
    return Around(
        tuple(map(Document.of, others)), tuple(map(Document.of, cells)), documents.recent_edits(), diagnostics
    )


class Chooser:
    """Chooses on a thread of its own, and keeps its choice while the cursor stays on its line.

    The beginning of the model's prompt then stays the same, and is not encoded again.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "palimpsest-context")
        self._kept = Latest[str, tuple[object, Chosen]](_KEPT)
        self._under_way: asyncio.Future[Chosen] | None = None

    async def choose(self, question: Question, patience: float | None = None) -> Chosen:
        """Choose, or return the last choice for this document (or nothing) after `patience` seconds.

        A disk that does not answer holds nobody up; its late answer serves the next question.
        """
        if not question.sources and not question.around.cells:
            return Chosen()
        uri, key = question.document.uri, _key(question)
        before, last = self._kept.get(uri, (None, Chosen()))
        if before == key:
            return last
        if self._under_way is not None and not self._under_way.done():
            return replace(last, older=True)
        working = asyncio.get_running_loop().run_in_executor(self._worker, _chosen, question)
        self._under_way = working

        def keep(done: asyncio.Future[Chosen]) -> None:
            if done.cancelled():
                return
            if error := done.exception():
                logger.error("no context could be chosen", exc_info=error)
                return
            chosen = done.result()
            # One that had no time, as on a busy machine or before a grammar was read, serves until the next question.
            self._kept[uri] = (None if chosen.cut_short else key, chosen)

        working.add_done_callback(keep)
        await asyncio.wait((working,), timeout=patience)
        return replace(last, older=True) if not working.done() or working.exception() else working.result()

    def forget(self, uri: str) -> None:
        """Forget a document, which was closed."""
        self._kept.pop(uri, None)

    def close(self) -> None:
        """End the thread; does not wait."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def _chosen(question: Question) -> Chosen:
    """Choose within the time for one choice; what has to be started first does not count."""
    warm_parser()
    until = monotonic() + _SECONDS
    return choose(question, lambda: monotonic() > until)


def _key(question: Question) -> tuple[object, ...]:
    """Return all that a choice depends on, except the text of the cursor's line."""
    document, around = question.document, question.around
    back = document.content.slice(max(0, question.offset - _BEFORE), question.offset)
    others = tuple((each.uri, each.version) for each in (*around.others, *around.cells) if each.uri != document.uri)
    edits = tuple(each for each in around.edits if each.uri != document.uri)
    return (back[: back.rfind("\n") + 1], others, edits, around.diagnostics, question.sources, question.limits)
