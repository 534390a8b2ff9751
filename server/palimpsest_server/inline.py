"""Ghost text: one insertion at the cursor, for `textDocument/inlineCompletion`; offsets, no LSP types.

How far a suggestion may reach: if the cursor's line has code on it, on either side of the cursor, it stays
on that line; on a blank line it may be as long as the user's `maxLines` allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from urllib.parse import unquote, urlsplit

from palimpsest_engine import Draft, FillRequest, Span
from palimpsest_server import edit, jobs, wire
from palimpsest_server.cache import Suggestion
from palimpsest_server.documents import Snapshot
from palimpsest_server.session import Session

_DRAFT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Ask:
    """A question at a cursor.

    document: the snapshot it was asked about. text, offset: what the model is to see and where the hole is;
    the same as the document's unless the client has a completion selected, which then stands in the text
    already. automatic: asked by typing, so the answer has to be quick.
    """

    document: Snapshot
    text: str
    offset: int
    automatic: bool


@dataclass(frozen=True, slots=True)
class DraftNews:
    """What a client that watches is told; `final` once, with the text that the next ask will get."""

    ask: Ask
    text: str
    settled_share: float
    step: int
    final: bool


async def complete(session: Session, ask: Ask, show: Callable[[DraftNews], None]) -> tuple[str, str]:
    """The text to insert, or "" and the reason.

    From what was suggested before if it still holds; else from the job already under way for this very
    question, or from a new one that ends the document's older one. An automatic ask does not wait for longer
    than the setting says: the job goes on, and its result is there for the next ask.
    """
    if reason := session.refusal(ask.document) or session.untrained(ask.document):
        return "", reason
    if kept := session.suggestions.find(ask.document.uri, ask.text, ask.offset):
        return kept.fill, kept.reason
    running = session.jobs.running(ask.document.uri)
    if running and running.purpose == "selection" and ask.automatic:
        return "", "a selection of this document is being filled"
    request = request_for(ask, session.settings.max_lines, session.settings.seed)
    if running is None or running.request != request:
        running = start(session, ask, request, show)
    outcome = await running.wait(session.settings.answer_within_ms / 1000 if ask.automatic else None)
    if outcome is None:
        return "", session.waiting_for()
    if not session.documents.current(ask.document):
        return "", jobs.CHANGED
    if outcome.fill is None:
        return "", outcome.reason
    return edit.with_line_ends_of(ask.text, outcome.fill.texts[0]), ""


def request_for(ask: Ask, max_lines: int | None, seed: int) -> FillRequest:
    """An insertion at the cursor, as far as it may reach."""
    start, end = wire.line_around(ask.text, ask.offset)
    return FillRequest(
        ask.text,
        (Span(ask.offset, ask.offset),),
        document=ask.document.uri,
        language=ask.document.language or None,
        path=path_of(ask.document.uri),
        seed=seed,
        max_lines=max_lines if ask.text[start:end].isspace() or start == end else 1,
    )


def path_of(uri: str) -> str | None:
    """The path in a URI, to judge the language by."""
    return unquote(urlsplit(uri).path) or None


def start(session: Session, ask: Ask, request: FillRequest, show: Callable[[DraftNews], None]) -> jobs.Running:
    """A new job; its result is kept, its drafts are shown to a client that wants them, some ten a second."""
    assert session.engine is not None, "refusal() answers when there is no engine"
    news = DraftNews(ask, "", 0.0, 0, final=False)
    shown = 0.0

    def drafted(draft: Draft) -> None:
        nonlocal news, shown
        news = replace(news, text=draft.texts[0], settled_share=draft.settled_share, step=draft.step)
        if session.settings.drafts and monotonic() - shown >= _DRAFT_SECONDS:
            shown = monotonic()
            show(news)

    def ended(outcome: jobs.Outcome) -> None:
        text = edit.with_line_ends_of(ask.text, outcome.fill.texts[0]) if outcome.fill else ""
        if outcome.fill or outcome.lasting:
            kept = Suggestion(ask.document.uri, ask.text, ask.offset, text, outcome.reason)
            session.suggestions.keep(kept)
        watched = shown > 0 or running.waiting == 0  # whoever waits gets the answer itself
        if session.settings.drafts and watched and session.documents.current(ask.document):
            show(replace(news, text=text, settled_share=1.0 if text else news.settled_share, final=True))
        session.publish()

    running = session.jobs.start(session.engine, request, "inline", drafted, ended)
    session.publish()
    return running
