"""Ghost text: one insertion at the cursor, for `textDocument/inlineCompletion`; offsets, no LSP types.

How far a suggestion may reach: if the cursor's line has code on it, on either side of the cursor, it stays
on that line; on a blank line it may be as long as the user's `maxLines` allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from typing import Literal

from palimpsest_engine import Draft, FillRequest, Span, judge, tidy
from palimpsest_server.documents import edits
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.documents.uris import path_of
from palimpsest_server.protocol import positions
from palimpsest_server.session import jobs
from palimpsest_server.session.session import Session
from palimpsest_server.session.suggestions import Suggestion

Source = Literal["", "cache", "model", "draft"]

_DRAFT_SECONDS = 0.1
_BEFORE_SPECULATION = 0.1  # seconds: who types on at once does not want the suggestion
# Of a larger document only so much around the cursor is looked at. The window moves in steps, so that typing leaves it
# where it is.
WINDOW, STRIDE = 98_304, 32_768


@dataclass(frozen=True, slots=True)
class Ask:
    """A question at a cursor.

    document: the snapshot it was asked about. text, offset: what the model is to see and where the hole is: (a window of)
    the document, except that a completion which the client has selected stands in the text already.
    automatic: asked by typing, so the answer has to be quick.
    """

    document: Snapshot
    text: str
    offset: int
    place: int
    automatic: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What makes two jobs the same. wide: several candidates are wanted."""

    text: str
    offset: int
    wide: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """Texts to insert, best first, or none and the reason; and where they are from."""

    texts: tuple[str, ...] = ()
    reason: str = ""
    source: Source = ""


@dataclass(frozen=True, slots=True)
class DraftNews:
    """What a client that watches is told; `final` once, with the text that the next ask will get."""

    ask: Ask
    text: str
    settled_share: float
    step: int
    final: bool


Show = Callable[[DraftNews], None]


async def complete(session: Session, ask: Ask, show: Show) -> Answer:
    """The texts to insert, or the reason why there are none.

    From what was suggested before if it still holds; else from the job already under way for this very
    question, or from a new one that ends the document's older one. An automatic ask does not wait for longer
    than the setting says: the job goes on, and its result is there for the next ask.
    """
    uri = ask.document.uri
    if reason := session.refusal(ask.document) or session.untrained(ask.document):
        return Answer(reason=reason)
    kept = session.suggestions.find(uri, ask.text, ask.offset)
    wide = not ask.automatic and session.settings_for(ask.document).candidates > 1
    if kept and (not wide or kept.wide or session.announced == (uri, ask.document.version)):
        session.announced = None
        speculate(session, ask, kept.fills)
        return Answer(kept.fills, kept.reason, "cache")
    running = session.jobs.running(uri)
    if running and running.purpose == "command" and ask.automatic:
        return Answer(reason="an action is at work on this document")
    question = Question(ask.text, ask.offset, wide)
    if running is None or not same(running, question):
        running = start(session, ask, question, show)
    patience = session.settings.answer_within_ms / 1000 if ask.automatic else None
    outcome = await running.wait(patience)
    if outcome and outcome.reason == jobs.CANCELLED and running.purpose == "speculation":
        # It gave way to somebody else's question before the engine knew that this one was asked in earnest.
        running = start(session, ask, question, show)
        outcome = await running.wait(patience)
    if outcome is None:
        if running.purpose == "speculation":  # begun for nobody, it tells nobody of its end
            running.outcome.add_done_callback(lambda done: announce(session, ask, running, done.result(), show))
        text = await stable(session, ask, running)
        return Answer((text,), "", "draft") if text else Answer(reason=session.waiting_for())
    if not session.documents.current(ask.document):
        return Answer(reason=jobs.CHANGED)
    if outcome.fill is None:
        return Answer(reason=outcome.reason)
    fills, reason = running.offer or offered(ask, outcome)
    speculate(session, ask, fills)
    return Answer(fills, reason, "model" if fills else "")


def same(running: jobs.Running, question: Question) -> bool:
    """The job answers the question: it is about the same place, and wide enough."""
    key = running.key
    return (
        isinstance(key, Question)
        and (key.text, key.offset) == (question.text, question.offset)
        and (key.wide or not question.wide)
    )


def start(session: Session, ask: Ask, question: Question, show: Show, purpose: jobs.Purpose = "inline") -> jobs.Running:
    """A new job; its result is kept, its drafts are shown to a client that wants them, some ten a second."""
    assert session.engine is not None, "refusal() answers when there is no engine"
    news = DraftNews(ask, "", 0.0, 0, final=False)
    shown = -inf

    def drafted(draft: Draft) -> None:
        nonlocal news, shown
        news = replace(news, text=draft.texts[0], settled_share=draft.settled_share, step=draft.step)
        if session.settings.drafts and purpose == "inline" and monotonic() - shown >= _DRAFT_SECONDS:
            shown = monotonic()
            show(news)

    def ended(outcome: jobs.Outcome) -> None:
        fills, reason = running.offer = offered(ask, outcome)
        if fills or outcome.lasting or outcome.fill:
            session.suggestions.keep(Suggestion(ask.document.uri, ask.text, ask.offset, fills, reason, question.wide))
        if purpose == "inline":
            session.recent.keep(ask.document.uri, ask.document.content, Span(ask.place, ask.place), fills)
        watched = shown > 0 or running.waiting == 0  # whoever waits gets the answer itself
        if session.settings.drafts and purpose == "inline" and watched and session.documents.current(ask.document):
            session.announced = (ask.document.uri, ask.document.version)
            show(
                replace(
                    news,
                    text=fills[0] if fills else "",
                    settled_share=1.0 if fills else news.settled_share,
                    final=True,
                )
            )
        if purpose == "inline" and not fills and running.waiting == 0 and session.documents.current(ask.document):
            session.came_to_nothing(reason)
        session.publish()

    running = session.jobs.start(
        session.engine,
        ask.document.uri,
        question,
        purpose,
        lambda: request_for(session, ask, question, running.asked if purpose == "speculation" else None),
        drafted,
        ended,
        session.settings.deadline_ms / 1000,
    )
    session.publish()
    return running


def announce(session: Session, ask: Ask, running: jobs.Running, outcome: jobs.Outcome, show: Show) -> None:
    """Tell a client that watches of a result which its request could not wait for; and who looks, why there is none."""
    if not session.documents.current(ask.document):
        return
    texts, reason = running.offer or offered(ask, outcome)
    if session.settings.drafts:
        session.announced = (ask.document.uri, ask.document.version)
        show(DraftNews(ask, "".join(texts[:1]), 1.0 if texts else 0.0, 0, final=True))
    if not texts:
        session.came_to_nothing(reason)
        session.publish()


async def request_for(session: Session, ask: Ask, question: Question, asked: asyncio.Event | None) -> FillRequest:
    """An insertion at the cursor, as far as it may reach, once the typing pauses. Raises Refused if none is due here.

    asked: of what is made ahead: somebody has come to ask for it."""
    document, settings = ask.document, session.settings_for(ask.document)
    if asked is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), _BEFORE_SPECULATION)
    elif ask.automatic and (delay := session.pause_before_asking(document)):
        await asyncio.sleep(delay)
    reason = await session.look(document, ask.text, ask.offset, automatic=ask.automatic)
    if reason:
        raise jobs.Refused(reason)
    return FillRequest(
        ask.text,
        (Span(ask.offset, ask.offset),),
        document=document.uri,
        language=document.language or None,
        path=str(path_of(document.uri) or "") or None,
        seed=settings.seed,
        max_lines=settings.max_lines if blank_line(ask.text, ask.offset) else 1,
        context=await session.context(document, ask.place),
        candidates=settings.candidates if question.wide else 1,
        speculative=asked is not None,
        tidy=True,
    )


def offered(ask: Ask, outcome: jobs.Outcome) -> tuple[tuple[str, ...], str]:
    """The texts of an outcome as they go out, or none and the reason."""
    if outcome.fill is None:
        return (), outcome.reason
    all_texts = (outcome.fill.texts[0], *(texts[0] for texts in outcome.fill.alternatives))
    fills = tuple(dict.fromkeys(text for each in all_texts if (text := trimmed(ask, each))))
    return fills, "" if fills else "what the model wrote is there already, or has no place here"


def trimmed(ask: Ask, text: str) -> str:
    """A text as people accept it here, with the document's line ends."""
    multiline = blank_line(ask.text, ask.offset)
    kept = tidy(ask.text, ask.offset, ask.offset, text.replace("\r\n", "\n"), multiline=multiline)
    return edits.with_line_ends_of(ask.text, kept)


async def stable(session: Session, ask: Ask, running: jobs.Running) -> str:
    """The draft of a job that is not done, if it has come to rest and breaks no syntax; else ""."""
    draft, request = running.draft, running.request
    if draft is None or request is None or not running.stable:
        return ""
    text = trimmed(ask, draft.texts[0])
    verdict = await session.off_loop(judge, request, (text,)) if text else None
    if verdict is None or verdict.status == "worse" or not session.documents.current(ask.document):
        return ""
    return text


def speculate(session: Session, ask: Ask, fills: tuple[str, ...]) -> None:
    """Begin with the question that comes next if the first suggestion is accepted, unless something else is to do."""
    uri = ask.document.uri
    if not fills or not session.settings.speculate or session.jobs.running(uri):
        return
    text, offset = ask.text[: ask.offset] + fills[0] + ask.text[ask.offset :], ask.offset + len(fills[0])
    if session.suggestions.find(uri, text, offset) is None:
        ahead = Ask(ask.document, text, offset, ask.place, automatic=True)
        start(session, ahead, Question(text, offset, wide=False), lambda news: None, "speculation")


def moved_on(session: Session, uri: str) -> None:
    """A document has another text: what is being written for the old one is of no use, with one exception."""
    session.pace.changed(uri, monotonic())
    running, document = session.jobs.running(uri), session.documents.snapshot(uri)
    if running and not (document and on_the_way(running, document)):
        session.jobs.end(uri, jobs.CHANGED)


def on_the_way(running: jobs.Running, document: Snapshot) -> bool:
    """The document may yet become what the job is about: so much of the suggestion before it has been typed or accepted."""
    question = running.key
    if running.purpose != "speculation" or not isinstance(question, Question) or len(document.content) > 2 * WINDOW:
        return False
    text, after = document.text, len(question.text) - question.offset
    typed = len(text) - after
    return (
        0 <= typed <= question.offset
        and question.text.startswith(text[:typed])
        and question.text.endswith(text[typed:])
    )


def window(document: Snapshot, start: int, end: int) -> tuple[str, int]:
    """(the document, or what stands around these offsets of a large one; the offset at which that begins)."""
    content = document.content
    if len(content) <= 2 * WINDOW:
        return document.text, 0
    first = max(0, -(-(start - WINDOW) // STRIDE) * STRIDE)
    behind = max(0, (len(content) - end - WINDOW) // STRIDE * STRIDE)
    text = content.slice(first, len(content) - behind)
    line = text.find("\n", 0, start - first) + 1 if first else 0
    return text[line:], first + line


def blank_line(text: str, offset: int) -> bool:
    """There is nothing but white space on the line."""
    start, end = positions.line_around(text, offset)
    return not text[start:end].strip()
