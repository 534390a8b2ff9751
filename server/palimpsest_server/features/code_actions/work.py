"""Do the work of a command: one request to the engine, one edit of the document.

Nothing is ever applied to a document that has moved on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any

from lsprotocol import types

from palimpsest_engine import Draft, Excerpt, FillRequest, Mender, Span, Turn
from palimpsest_server.documents import edits
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features import drafts
from palimpsest_server.features.code_actions import repair
from palimpsest_server.features.code_actions.catalog import RUNNABLE, Action, holes_of, why_not
from palimpsest_server.features.code_actions.scene import Scene, broken_within, language_and_path, scene_of
from palimpsest_server.features.code_actions.target import Target, document_of
from palimpsest_server.features.code_actions.workspace_edit import apply, versioned
from palimpsest_server.features.progress import WorkDoneProgress
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.methods import DRAFT
from palimpsest_server.server import Server
from palimpsest_server.session import jobs
from palimpsest_server.session.session import Session

_SAME = "the fill is what is there already"
_MOST_COMPLAINTS, _LONGEST_COMPLAINT = 20, 300


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a command: so many holes filled, or the reason why nothing was changed. more: fields of its result."""

    reason: str = ""
    holes: int = 0
    filled: int = 0
    source: str = "model"
    more: Mapping[str, Any] = field(default_factory=dict)


async def fill(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Ask the engine, and have the client apply what it wrote. Raises Refused if there is nothing to apply."""
    return await carry_out(server, begin(server.session, target), token)


async def carry_out(server: Server, work: Work, token: types.ProgressToken | None) -> Done:
    """Have the client apply the outcome of a job that has begun. Raises Refused if there is nothing to apply."""
    session, encoding = server.session, server.session.documents.encoding
    title = work.title
    progress = WorkDoneProgress(server, title, token, lambda: work.running.end(jobs.CANCELLED))
    news = Drafts(session, work)
    work.watchers += [news.show, lambda draft: progress.report(draft.settled_share)]
    reason = jobs.CANCELLED
    try:
        written = await finish(session, work)
        work.before_edit(written)
        change = versioned(
            work.document, written.changes, server.client_capabilities, encoding, title.removeprefix("Palimpsest: ")
        )
        reason = await apply(server, change, title)
    except jobs.Refused as refused:
        reason = str(refused)
        raise
    finally:
        progress.end(reason)
        if reason:
            news.end()
    if reason:
        return Done(reason, len(work.holes))
    if len(work.holes) == 1:
        session.recent_fills.keep(work.document.uri, work.document.content, work.place(0), written.candidates)
    return Done("", len(work.holes), len(written.changes))


# One job


@dataclass(slots=True)
class Work:
    """A command under way. base, holes, within, mender: known once the request is made; holes are those of the request.

    turns: what was said before. before_edit: called with what was written, before it is applied. mender: of the text, where
    the syntax is known.
    """

    action: Action
    document: Snapshot
    target: Target
    turns: tuple[Turn, ...] = ()
    before_edit: Callable[[Written], None] = lambda written: None
    running: jobs.Running = field(init=False)
    watchers: list[Callable[[Draft], None]] = field(default_factory=list)
    base: int = 0
    holes: tuple[Span, ...] = ()
    within: Span = field(default=Span(0, 0))
    mender: Mender | None = None

    @property
    def title(self) -> str:
        """Return the title of the action, before the number of holes is known."""
        return self.action.titled(1) if "{" not in self.action.title else "Palimpsest: fill every hole"

    def drafted(self, draft: Draft) -> None:
        """Pass a draft on to all watchers."""
        for watch in self.watchers:
            watch(draft)

    def place(self, hole: int) -> Span:
        """Return the place of a hole in the document."""
        return Span(self.base + self.holes[hole].start, self.base + self.holes[hole].end)


@dataclass(frozen=True, slots=True)
class Written:
    """The edits of the document. candidates: of the only hole, the text that was written, and the others.

    before: its text until then.
    """

    changes: tuple[edits.Edit, ...]
    candidates: tuple[str, ...] = ()
    before: str = ""


Prepare = Callable[[Session, Work], Coroutine[None, None, FillRequest]]


def begin(session: Session, target: Target, turns: tuple[Turn, ...] = ()) -> Work:
    """Start the job of an action. Raises Refused if nothing can be done in the document."""
    return start(session, Work(RUNNABLE[target.action], document_of(session, target), target, turns), request_for)


def start(session: Session, work: Work, prepare: Prepare) -> Work:
    """Start a job in place of the document's."""
    assert session.engine.opened is not None, "refusal() answers when there is no engine"
    work.running = session.jobs.start(
        session.engine.opened,
        work.document.uri,
        work,
        "command",
        lambda: prepare(session, work),
        work.drafted,
        lambda _: session.publisher.publish(),
        session.settings.deadline_ms / 1000,
        asked=True,
    )
    session.publisher.publish()
    return work


async def request_for(session: Session, work: Work) -> FillRequest:
    """Make one request of all holes of the action. Raises Refused if there are none, or the file is not to be touched."""
    action, document = work.action, work.document
    scene = await look(session, work)
    first = work.holes[0].start
    settings = session.settings_for(document)
    said = work.target.instruction
    # An answer that is to be changed a little is kept in part where the model can; the others are told what was said.
    keeps = not said or session.engine.status().denoises
    return FillRequest(
        scene.text,
        work.holes,
        document=document.uri,
        language=document.language or None,
        path=str(document.path or "") or None,
        seed=settings.seed,
        strength=action.strength if keeps else 1.0,
        context=await context_of(session, document, scene.base + first),
        candidates=settings.candidates if len(work.holes) == 1 and action.task == "rewrite" else 1,
        tidy=not said,
        edit=True,
        instruction=said,
        task=action.task,
        turns=work.turns,
        diagnostics=complaints(session, work) if said else (),
    )


async def look(session: Session, work: Work) -> Scene:
    """Return the text around the selection, and note the holes. Raises Refused if there are none, or the file is taboo."""
    action, document, encoding = work.action, work.document, session.documents.encoding
    chosen = document.span_of(work.target.range, encoding) if work.target.range else Span(0, 0)
    problems = [document.span_of(problem, encoding) for problem in work.target.problems]
    scene = await scene_of(session, document, chosen, problems, parses=action.parses)
    work.holes = (await holes_of(session, [action], scene))[action.id]
    if scene is None or not work.holes:
        raise jobs.Refused(why_not(action, scene))
    work.base, work.within = scene.base, broken_within(scene)
    if scene.complaints is not None:
        work.mender = Mender(scene.text, *language_and_path(document), scene.complaints)
    settings, first = session.settings_for(document), work.holes[0].start
    if reason := await session.surroundings.objection(document, scene.text, first, settings, automatic=False):
        raise jobs.Refused(reason)
    return scene


async def context_of(session: Session, document: Snapshot, offset: int) -> tuple[Excerpt, ...]:
    """Return what the model may see of other places, for an offset of a document."""
    settings = session.settings_for(document)
    return await session.surroundings.excerpts(document, offset, settings, session.engine.status())


def complaints(session: Session, work: Work) -> tuple[str, ...]:
    """Return what other tools say of the lines of the only hole, each in one line; lines are counted from its first one."""
    document, encoding = work.document, session.documents.encoding
    said = work.target.diagnostics
    if said is None:
        said = tuple((each.range, each.message) for each in session.surroundings.diagnostics_of(document))
    place = work.place(0)
    first = document.content.line_at(place.start)
    found = list[str]()
    for where, message in said:
        span = document.span_of(where, encoding)
        if span.start <= place.end and place.start <= span.end and message.strip():
            line = max(document.content.line_at(span.start), first) - first + 1
            found.append(f"line {line}: {' '.join(message.split())[:_LONGEST_COMPLAINT]}")
    return tuple(dict.fromkeys(found))[:_MOST_COMPLAINTS]


async def finish(session: Session, work: Work) -> Written:
    """Wait for the job and return its edits. Raises Refused, with the reason why there are none."""
    outcome = await work.running.wait()
    assert outcome is not None, "only a limited wait has no outcome"
    if reason := session.moved_on(work.document):
        raise jobs.Refused(reason)
    if outcome.fill is None:
        raise jobs.Refused(outcome.reason)
    request = work.running.request
    assert request is not None, "a job with a fill has had a request"
    choices = [written(work, request, texts) for texts in (outcome.fill.texts, *outcome.fill.alternatives)]
    if work.action.id == "repair" and work.mender is not None:
        choices = await repair.proven(session, work.document, work.mender, work.within, request, choices)
    changes = tuple(
        edits.Edit(Span(work.base + change.span.start, work.base + change.span.end), change.text)
        for hole, text in zip(request.holes, choices[0], strict=True)
        if (change := edits.smallest(request.text, hole, text))
    )
    if not changes:
        raise jobs.Refused(_SAME)
    if len(request.holes) > 1:
        return Written(changes)
    [hole] = request.holes
    return Written(changes, tuple(texts[0] for texts in choices), request.text[hole.start : hole.end])


def written(work: Work, request: FillRequest, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the new texts of the holes, with the document's line ends. Only a repair may replace code by nothing."""
    return tuple(
        edits.with_line_ends_of(request.text, text)
        if text.strip() or work.action.id == "repair"
        else request.text[hole.start : hole.end]
        for hole, text in zip(request.holes, texts, strict=True)
    )


class Drafts:
    """Shows the drafts of a command to a client that wants them: each hole that reads otherwise, some ten times a second."""

    def __init__(self, session: Session, work: Work) -> None:
        self._session, self._work = session, work
        self._texts: dict[int, str] = {}
        self._last: Draft | None = None
        self._shown = -inf

    def show(self, draft: Draft) -> None:
        """Show a draft, if it is time to."""
        self._last = draft
        if self._session.settings.drafts and monotonic() - self._shown >= drafts.SECONDS:
            self._shown = monotonic()
            for hole, text in enumerate(draft.texts):
                if self._texts.get(hole) != text:
                    self._texts[hole] = text
                    self._tell(hole, text, draft, final=False)

    def end(self) -> None:
        """Take back the draft of every hole of which one was shown, because nothing will be written."""
        if self._last is not None and self._session.documents.current(self._work.document):
            for hole in self._texts:
                self._tell(hole, "", self._last, final=True)

    def _tell(self, hole: int, text: str, draft: Draft, *, final: bool) -> None:
        document, place = self._work.document, self._work.place(hole)
        where = document.range_at(place.start, place.end, self._session.documents.encoding)
        fields = (text, draft.settled_share, draft.step)
        more = {"range": positions.as_json(where), "hole": hole}
        self._session.client.notify(DRAFT, drafts.params(document, where.start, *fields, final=final) | more)
