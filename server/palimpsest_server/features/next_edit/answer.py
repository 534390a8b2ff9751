"""Answer `textDocument/copilotInlineEdit`: the edits that follow from the last changes; offsets, no LSP types.

Silence is the default: an edit is offered if it is sure enough for the user's `nextEdit`, was not refused before, and nobody
is in the middle of a word or a statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter

from lsprotocol import types

from palimpsest_engine import (
    NOTHING_FOLLOWS,
    Diagnostic,
    FollowUps,
    NextEdit,
    NextEditQuestion,
    OpenDocument,
    Outline,
    Span,
    follow_ups,
)
from palimpsest_server.documents import edits, window
from palimpsest_server.documents.rope import Text
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.next_edit import by_model
from palimpsest_server.features.next_edit.params import Asked
from palimpsest_server.session import suppression
from palimpsest_server.session.jobs import CHANGED, SUPERSEDED, Refused
from palimpsest_server.session.next_edits import Known
from palimpsest_server.session.permission import ban
from palimpsest_server.session.session import Session
from palimpsest_server.settings import NextEditEagerness, Settings

_DOCUMENTS = 8
_BAD = (types.DiagnosticSeverity.Error, types.DiagnosticSeverity.Warning, None)
_LONGEST = 500  # characters of a message
_BUDGET_MS = 30.0
_MOMENT_SECONDS = 0.25  # since the last keystroke: in the middle of a word, the next one comes by then
_TOO_LARGE = f"the document has more than {2 * window.REACH:,} characters"
_SURE: Mapping[NextEditEagerness, tuple[str, ...]] = {
    "off": (),
    "low": ("sure",),
    "medium": ("sure", "likely"),
    "high": ("sure", "likely", "possible"),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A question at a cursor. invoked: a person has asked for it. most: so many edits. shown: the client shows them."""

    document: Snapshot
    offset: int
    invoked: bool = False
    most: int = 1
    shown: bool = True
    begun: float = field(default_factory=perf_counter)


@dataclass(frozen=True, slots=True)
class Offered:
    """An edit that is offered, with the snapshot of its document."""

    document: Snapshot
    known: Known

    @property
    def edit(self) -> NextEdit:
        """Return the edit."""
        return self.known.edit


@dataclass(frozen=True, slots=True)
class Answer:
    """Edits, best first, all of one document; or none and the reason."""

    edits: tuple[Offered, ...] = ()
    reason: str = ""


async def answered(session: Session, asked: Asked, *, shown: bool = True) -> Answer:
    """Answer a request as a client has put it."""
    document = session.documents.snapshot(asked.uri)
    if document is None:
        return Answer(reason=session.documents.why_not_open(asked.uri))
    if asked.version not in (None, document.version):
        return Answer(reason=CHANGED)
    if asked.diagnostics is not None:
        session.surroundings.diagnosed(document, asked.diagnostics)
    offset = document.content.offset_at(asked.position, session.documents.encoding)
    return await next_edits(session, Ask(document, offset, asked.invoked, asked.most, shown))


async def next_edits(session: Session, ask: Ask) -> Answer:
    """Return the edits that follow from the last changes, or the reason why there are none; the latest request wins."""
    uri = ask.document.uri
    superseded = session.next_edits.ask(uri)
    search = asyncio.ensure_future(_search(session, ask))
    try:
        await asyncio.wait((search, superseded), return_when=asyncio.FIRST_COMPLETED)
        if not search.done():
            return Answer(reason=SUPERSEDED)
        return search.result()
    except Refused as refused:
        return Answer(reason=str(refused))
    finally:
        search.cancel()
        session.next_edits.done(uri, superseded)


async def _search(session: Session, ask: Ask) -> Answer:
    document, settings = ask.document, session.settings_for(ask.document)
    if reason := _objection(session, document):
        raise Refused(reason)
    if not ask.invoked:
        if session.documents.changes.last_undone:
            raise Refused("the last change was undone")
        await asyncio.sleep(_pause(session, ask))
    if reason := session.moved_on(document):
        raise Refused(reason)
    look = _Look(session, ask, settings)
    found = await session.surroundings.off_loop(look.follow_ups)
    if reason := session.moved_on(document):
        raise Refused(reason)
    try:
        if found.reason:
            raise Refused(found.reason)
        return _chosen(session, ask, look, found.edits)
    except Refused as refused:
        decided = found.reason not in ("", NOTHING_FOLLOWS)
        if decided or not ask.shown or look.question is None or settings.next_edit == "low":
            raise
        edits, reason = await by_model.expected(session, look.question, found)
        if moved := session.moved_on(document):
            raise Refused(moved) from None
        if not edits:
            raise Refused(reason or str(refused)) from None
        return _chosen(session, ask, look, edits)


def _objection(session: Session, document: Snapshot) -> str:
    """Return why no edit of a document may be offered, as far as it is known without reading anything, or ""."""
    if reason := ban(session, document):
        return reason
    if session.settings_for(document).next_edit == "off":
        return 'the setting palimpsest.nextEdit is "off"'
    return "" if window.is_small(document) else _TOO_LARGE


def _pause(session: Session, ask: Ask) -> float:
    """Return the seconds to wait, as the word at the cursor may still be typed."""
    newest = session.documents.changes.newest(ask.document.uri)
    around = ask.document.content.slice(max(0, ask.offset - 1), ask.offset + 1)
    if newest is None or not any(each.isalnum() or each == "_" for each in around):
        return 0.0
    start, end, age = newest
    return max(0.0, _MOMENT_SECONDS - age) if start <= ask.offset <= end else 0.0


class _Look:
    """The frozen values that a search looks at, taken on the event loop. documents: by their names.

    question: what was asked, once that is known.
    """

    def __init__(self, session: Session, ask: Ask, settings: Settings) -> None:
        others = [each for each in session.documents.recent() if each.uri != ask.document.uri]
        allowed = [each for each in others if not _objection(session, each)][: _DOCUMENTS - 1]
        self.documents = {each.uri: each for each in (ask.document, *allowed)}
        self.settings = {uri: session.settings_for(each) for uri, each in self.documents.items()}
        self._ask = ask
        self._diagnostics = tuple(_diagnostics(session, self.documents.values()))
        self._forbidden = session.surroundings.forbidden
        self._changes = session.documents.changes.recent(self._content)
        self._line = ask.document.content.line_around(ask.offset)
        self._outline: Outline | None = None
        self.question: NextEditQuestion | None = None
        newest = session.documents.changes.newest(ask.document.uri)
        typing = newest is not None and newest[0] <= self._line[1] and self._line[0] <= newest[1]
        if typing and not ask.invoked:
            self._outline = session.surroundings.outline(ask.document, ask.document.text, "next edit")

    def _content(self, uri: str) -> Text | None:
        document = self.documents.get(uri)
        return document.content if document else None

    def follow_ups(self) -> FollowUps:
        """Search, off the event loop: it reads from disk and parses."""
        first, *others = self.documents.values()
        if reason := self._objection(first):
            return FollowUps(reason=reason)
        seen = (first, *(each for each in others if not self._objection(each)))
        named = {each.uri for each in seen}
        self.question = question = NextEditQuestion(
            tuple(_opened(each) for each in seen),
            tuple(each for each in self._changes if each.document in named),
            self._ask.offset,
            tuple(each for each in self._diagnostics if each.document in named),
            budget_ms=_BUDGET_MS,
        )
        found = follow_ups(question)
        if self._outline is not None and self._outline.defects(Span(*self._line)):
            mends = tuple(each for each in found.edits if each.kind == "mend")
            return FollowUps(mends, reason="" if mends else "the statement at the cursor is not finished")
        return found

    def _objection(self, document: Snapshot) -> str:
        settings, content, path = self.settings[document.uri], document.content, document.path
        spot = suppression.Spot(
            "",
            "",
            content.slice(0, min(len(content), suppression.HEAD)),
            len(content),
            path.name if path else "",
            document.language,
            automatic=not self._ask.invoked,
            forbidden=self._forbidden(document, settings),
        )
        return suppression.reason(spot)


def _diagnostics(session: Session, documents: Iterable[Snapshot]) -> Iterator[Diagnostic]:
    """Yield the errors and warnings of documents, where they are about the present text."""
    encoding = session.documents.encoding
    for document in documents:
        for each in session.surroundings.diagnostics_of(document):
            if each.severity in _BAD:
                start, end = (document.content.offset_at(edge, encoding) for edge in (each.range.start, each.range.end))
                said = each.message if isinstance(each.message, str) else each.message.value
                yield Diagnostic(document.uri, Span(start, max(start, end)), said[:_LONGEST])


def _opened(document: Snapshot) -> OpenDocument:
    path = document.path
    return OpenDocument(document.uri, document.text, document.language or None, str(path) if path else None)


def _chosen(session: Session, ask: Ask, look: _Look, found: tuple[NextEdit, ...]) -> Answer:
    """Return the best of the edits that may be offered: those of the document itself, or else of the next one."""
    reason, kept = NOTHING_FOLLOWS, list[Offered]()
    for each in found:
        document = look.documents[each.document]
        eagerness = look.settings[each.document].next_edit
        if not session.documents.current(document):
            continue
        if each.certainty not in _SURE[eagerness]:
            reason = f"not sure enough (nextEdit is {eagerness})"
            continue
        if eagerness == "medium" and not ask.invoked and (each.kind, each.certainty) in session.outcomes.held_back:
            reason = "edits of this kind were seldom taken (palimpsest stats)"
            continue
        edit = replace(each, text=edits.with_line_ends_of(document.text, each.text))
        known = session.next_edits.known(edit, document.content)
        if silence := session.next_edits.silence(known):
            reason = silence
            continue
        kept.append(Offered(document, known))
    if not kept:
        raise Refused(reason)
    where = next((each.document for each in kept if each.document is ask.document), kept[0].document)
    chosen = tuple(each for each in kept if each.document is where)[: ask.most]
    for offer in chosen:
        offer.known.ms = (perf_counter() - ask.begun) * 1000
        session.next_edits.offered(offer.known, offer.document.version, shown=ask.shown)
    return Answer(chosen)
