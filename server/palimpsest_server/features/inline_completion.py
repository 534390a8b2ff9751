"""Answer `textDocument/inlineCompletion`: ghost text, one insertion at the cursor; offsets, no LSP types.

If the cursor's line has code on it, on either side of the cursor, a suggestion stays on that line; on a blank line it may
be as long as the user's `maxLines` allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from math import inf
from time import monotonic
from typing import Literal

from palimpsest_engine import Confidence, Draft, FillRequest, Span, judge, tidy
from palimpsest_server.documents import edits, window
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features import drafts
from palimpsest_server.protocol import positions
from palimpsest_server.session import jobs
from palimpsest_server.session.eagerness import Offer, waits_for_the_end
from palimpsest_server.session.outcomes import Shown
from palimpsest_server.session.permission import refusal, untrained
from palimpsest_server.session.session import Session
from palimpsest_server.session.suggestions import Suggestion

Source = Literal["", "cache", "model", "draft"]

_BEFORE_PREFETCH = 0.1  # seconds: a user who types on within them does not want the suggestion


@dataclass(frozen=True, slots=True)
class Ask:
    """A question at a cursor.

    document: the snapshot that it is about. text: (a window of) the document, with the completion in it that the client has
    selected. offset: the place of the hole in `text`. place: the offset in the document. automatic: asked by typing, so the
    answer has to be quick.
    """

    document: Snapshot
    text: str
    offset: int
    place: int
    automatic: bool

    @property
    def multiline(self) -> bool:
        """Return whether an answer may have several lines: there is nothing but white space on the cursor's line."""
        start, end = positions.line_around(self.text, self.offset)
        return not self.text[start:end].strip()


@dataclass(frozen=True, slots=True)
class JobKey:
    """The place that a job is about. wide: several candidates are wanted."""

    text: str
    offset: int
    wide: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """Texts to insert, best first, or none and the reason; and their source. doubt: what makes the first unsure, or ""."""

    texts: tuple[str, ...] = ()
    reason: str = ""
    source: Source = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class DraftNews:
    """A draft for a client that watches; `final` once, with the text that the next ask will get."""

    ask: Ask
    text: str = ""
    settled_share: float = 0.0
    step: int = 0
    final: bool = False


Show = Callable[[DraftNews], None]


async def complete(session: Session, ask: Ask, show: Show) -> Answer:
    """Return the texts to insert, or the reason why there are none.

    They come from an earlier suggestion if it still holds; else from the job already under way for this very place, or
    from a new one that ends the document's older one. An automatic ask does not wait for longer than the setting says: the
    job goes on, and its result is there for the next ask.
    """
    uri = ask.document.uri
    if reason := refusal(session, ask.document) or untrained(session, ask.document):
        return Answer(reason=reason)
    kept = session.suggestions.find(uri, ask.text, ask.offset)
    wide = not ask.automatic and session.settings_for(ask.document).candidates > 1
    if kept and (not wide or kept.wide or session.announced == (uri, ask.document.version)):
        answer = answered(session, ask, kept.offer, "cache")
        if answer.texts or not (kept.typed and kept.offer.texts):  # with more of it typed, the model may be sure
            session.announced = None
            return answer
    running = session.jobs.running(uri)
    if running and running.purpose == "command" and ask.automatic:
        return Answer(reason="an action is at work on this document")
    key = JobKey(ask.text, ask.offset, wide)
    while True:
        if running is None or not same(running, key):
            running = start(session, ask, key, show)
        outcome = await running.wait(session.settings.answer_within_ms / 1000 if ask.automatic else None)
        if outcome is None or outcome.reason != jobs.CANCELLED or running.purpose != "prefetch":
            break
        running = None  # the engine ended it for another request before it knew that a request waits for this one
    if outcome is None:
        if running.purpose == "prefetch":  # begun for nobody, it tells nobody of its end
            running.outcome.add_done_callback(
                lambda done: announce(session, DraftNews(ask), running.offer or offered(ask, done.result()), show)
            )
        text = await stable(session, ask, running)
        return Answer((text,), "", "draft") if text else Answer(reason=session.board.waiting_for())
    if reason := session.moved_on(ask.document):
        return Answer(reason=reason)
    if outcome.fill is None:
        return Answer(reason=outcome.reason)
    return answered(session, ask, running.offer or offered(ask, outcome), "model")


def answered(session: Session, ask: Ask, offer: Offer, source: Source) -> Answer:
    """Return the answer that an offer makes for this ask, and prepare the one that comes after it."""
    settings = session.settings_for(ask.document)
    shown = offer.unasked(settings.eagerness) if ask.automatic else offer
    prefetch(session, ask, shown.texts)
    if not shown.texts:
        return Answer((), shown.reason, "cache" if source == "cache" else "")
    sure = offer.unasked(settings.eagerness).texts[:1] == shown.texts[:1]
    # All of them are kept, for what is typed next.
    return Answer(shown.texts[: settings.candidates], shown.reason, source, "" if sure else shown.likely)


def same(running: jobs.Running, key: JobKey) -> bool:
    """Return whether the job answers: it is about the same place, and wide enough."""
    other = running.key
    return (
        isinstance(other, JobKey)
        and (other.text, other.offset) == (key.text, key.offset)
        and (other.wide or not key.wide)
    )


def start(session: Session, ask: Ask, key: JobKey, show: Show, purpose: jobs.Purpose = "inline") -> jobs.Running:
    """Start a job, whose result is kept; its drafts are shown to a client that wants them, some ten a second."""
    assert session.engine.opened is not None, "refusal() answers when there is no engine"
    news = DraftNews(ask)
    shown = -inf
    visible = session.settings.drafts and purpose == "inline" and not hides_drafts(session, ask)

    def drafted(draft: Draft) -> None:
        nonlocal news, shown
        news = replace(news, text=draft.texts[0], settled_share=draft.settled_share, step=draft.step)
        if visible and monotonic() - shown >= drafts.SECONDS:
            shown = monotonic()
            show(news)
            session.publisher.came_to()  # something to look at

    def ended(outcome: jobs.Outcome) -> None:
        offer = running.offer = offered(ask, outcome)
        if offer.texts or outcome.lasting or outcome.fill:
            session.suggestions.keep(Suggestion(ask.document.uri, ask.text, ask.offset, offer, key.wide))
        if purpose == "inline":
            session.recent_fills.keep(ask.document.uri, ask.document.content, Span(ask.place, ask.place), offer.texts)
            # Whoever waits gets the answer itself.
            announce(session, news, offer, show, drafted=shown > 0, awaited=running.waiting > 0)
        session.publisher.publish()

    running = session.jobs.start(
        session.engine.opened,
        ask.document.uri,
        key,
        purpose,
        lambda: request_for(session, ask, key, running.asked if purpose == "prefetch" else None),
        drafted,
        ended,
        session.settings.deadline_ms / 1000,
        asked=not ask.automatic and purpose == "inline",
    )
    session.publisher.publish()
    return running


def watch(session: Session, ask: Ask, answer: Answer) -> None:
    """Watch the outcome of an answer. The rest of a suggestion that was typed in part is the same one: it ends there, too."""
    if answer.texts:
        text, ms = answer.texts[0], session.requests.recent[-1].ms
        id_ = f"{ask.document.uri}:{ask.place + len(text)}"
        shown = Shown(id_, "completion", ask.document.language, answer.source, "", ms, ask.document, text, ask.place)
        session.outcomes.shown(ask.document.uri, shown)


def announce(
    session: Session,
    news: DraftNews,
    offer: Offer,
    show: Show,
    *,
    drafted: bool = False,
    awaited: bool = False,
) -> None:
    """Tell a client that watches of a result that its request could not wait for, and the board why there is none.

    drafted: the client was shown drafts, so it hears of the end in any case. awaited: a request gets the result itself.
    """
    document = news.ask.document
    if news.ask.automatic:
        offer = offer.unasked(session.settings_for(document).eagerness)
    texts, reason = offer.texts, offer.reason
    if not session.documents.current(document):
        return
    if session.settings.drafts and (drafted or not awaited):
        session.announced = (document.uri, document.version)
        settled_share = 1.0 if texts else news.settled_share
        show(replace(news, text="".join(texts[:1]), settled_share=settled_share, final=True))
    if not awaited:
        session.publisher.came_to(reason)


async def request_for(session: Session, ask: Ask, key: JobKey, asked: asyncio.Event | None) -> FillRequest:
    """Make the request, once the typing pauses. Raises Refused if no suggestion is due here.

    asked: for a prefetch, set when a request asks for its place.
    """
    document, settings = ask.document, session.settings_for(ask.document)
    if asked is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), _BEFORE_PREFETCH)
    elif ask.automatic and (delay := pause_before(session, document)):
        await asyncio.sleep(delay)
    surroundings = session.surroundings
    if reason := await surroundings.objection(document, ask.text, ask.offset, settings, automatic=ask.automatic):
        raise jobs.Refused(reason)
    return FillRequest(
        ask.text,
        (Span(ask.offset, ask.offset),),
        document=document.uri,
        language=document.language or None,
        path=str(document.path or "") or None,
        seed=settings.seed,
        max_lines=settings.max_lines if ask.multiline else 1,
        context=await surroundings.excerpts(document, ask.place, settings, session.engine.status()),
        candidates=settings.candidates if key.wide else 1,
        speculative=asked is not None,
        tidy=True,
    )


def pause_before(session: Session, document: Snapshot) -> float:
    """Return the seconds to wait for more typing before an automatic request may cost a pass of the model."""
    fixed = session.settings.debounce_ms
    delay = session.debounce.delay(document.uri, monotonic(), None if fixed is None else fixed / 1000)
    if session.settings.drafts or fixed is not None:
        return delay
    # This client is not told when the result is there: leave time to answer the request itself.
    return min(delay, max(0.0, session.settings.answer_within_ms / 1000 - session.jobs.usual_seconds))


def offered(ask: Ask, outcome: jobs.Outcome) -> Offer:
    """Return the texts of an outcome as they go out, or none and the reason."""
    fill = outcome.fill
    if fill is None:
        return Offer(reason=outcome.reason)
    found = dict[str, Confidence | None]()
    for texts, confidence in zip_longest((fill.texts, *fill.alternatives), fill.confidences):
        if text := trimmed(ask, texts[0]):
            found.setdefault(text, confidence)
    if not found:
        return Offer(reason="what the model wrote is there already, or has no place here")
    return Offer(tuple(found), confidences=tuple(each for each in found.values() if each is not None))


def hides_drafts(session: Session, ask: Ask) -> bool:
    """Return whether drafts are kept back because nothing was asked for, as long as the model may say how sure it is."""
    eagerness, status = session.settings_for(ask.document).eagerness, session.engine.status()
    unknown = status.state in {"starting", "loading"}  # only a model that is there says whether it was measured
    return ask.automatic and waits_for_the_end(eagerness, measured=status.calibrated or unknown)


def trimmed(ask: Ask, text: str) -> str:
    """Return a text as people accept it here, with the document's line ends."""
    kept = tidy(ask.text, ask.offset, ask.offset, text.replace("\r\n", "\n"), multiline=ask.multiline)
    return edits.with_line_ends_of(ask.text, kept)


async def stable(session: Session, ask: Ask, running: jobs.Running) -> str:
    """Return the draft of a job that is not done, if it has come to rest and breaks no syntax; else ""."""
    draft, request = running.draft, running.request
    if draft is None or request is None or not running.stable or hides_drafts(session, ask):
        return ""
    text = trimmed(ask, draft.texts[0])
    verdict = await session.surroundings.off_loop(judge, request, (text,)) if text else None
    if verdict is None or verdict.status == "worse" or not session.documents.current(ask.document):
        return ""
    return text


def prefetch(session: Session, ask: Ask, fills: tuple[str, ...]) -> None:
    """Start the job that comes next if the first suggestion is accepted, unless another one is under way."""
    uri = ask.document.uri
    if not fills or not session.settings.speculate or session.jobs.running(uri):
        return
    text, offset = ask.text[: ask.offset] + fills[0] + ask.text[ask.offset :], ask.offset + len(fills[0])
    if session.suggestions.find(uri, text, offset) is None:
        ahead = Ask(ask.document, text, offset, ask.place, automatic=True)
        start(session, ahead, JobKey(text, offset, wide=False), lambda news: None, "prefetch")


def moved_on(session: Session, uri: str) -> None:
    """End the document's job, since its text has changed; a prefetch goes on while the change leads to its place."""
    session.debounce.changed(uri, monotonic())
    running, document = session.jobs.running(uri), session.documents.snapshot(uri)
    if document is not None:
        session.outcomes.moved_on(document)
    if running and not (document and on_the_way(running, document)):
        session.jobs.end(uri, jobs.CHANGED)


def on_the_way(running: jobs.Running, document: Snapshot) -> bool:
    """Return whether the document may yet become the prefetch's text: a part of the suggestion before it was accepted."""
    key = running.key
    if running.purpose != "prefetch" or not isinstance(key, JobKey) or not window.is_small(document):
        return False
    text, after = document.text, len(key.text) - key.offset
    typed = len(text) - after
    return 0 <= typed <= key.offset and key.text.startswith(text[:typed]) and key.text.endswith(text[typed:])
