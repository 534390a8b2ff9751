"""Run the command of a code action: one request to the engine, one edit of the document.

Nothing is ever applied to a document that has moved on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any

from lsprotocol import types

from palimpsest_engine import Draft, FillRequest, Mender, Span
from palimpsest_server.documents import edits
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features import drafts
from palimpsest_server.features.code_actions import alternatives, repair
from palimpsest_server.features.code_actions.catalog import ALTERNATIVE, RUNNABLE, Action, holes_of, why_not
from palimpsest_server.features.code_actions.scene import broken_within, language_and_path, scene_of
from palimpsest_server.features.code_actions.target import Target, document_of
from palimpsest_server.features.code_actions.workspace_edit import UNSAID, apply, versioned
from palimpsest_server.features.progress import WorkDoneProgress
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.methods import DRAFT
from palimpsest_server.server import Server
from palimpsest_server.session import jobs
from palimpsest_server.session.session import Session

_SAME = "the fill is what is there already"


async def run(server: Server, method: str, target: Target, token: types.ProgressToken | None) -> dict[str, Any]:
    """Run an action to its end and return its result; show the client the reason if nothing came of it."""
    session = server.session
    done = Done(reason=jobs.CANCELLED)
    with session.requests.under_way(method):
        try:
            done = await _RUN.get(target.action, fill)(server, target, token)
        except jobs.Refused as refused:
            done = Done(reason=str(refused))
        finally:
            session.publisher.answered(method, done.reason, "" if done.reason else done.source)
    if done.reason and done.reason != jobs.CANCELLED:
        server.warn(f"Palimpsest: {'' if done.reason == UNSAID else 'nothing was changed: '}{done.reason}")
    return {"applied": not done.reason, "reason": done.reason or None, "holes": done.holes, "filled": done.filled}


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a command: so many holes filled, or the reason why nothing was changed."""

    reason: str = ""
    holes: int = 0
    filled: int = 0
    source: str = "model"


async def fill(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Ask the engine, and have the client apply what it wrote. Raises Refused if there is nothing to apply."""
    session, encoding = server.session, server.session.documents.encoding
    work = begin(session, target)
    title = work.action.titled(1) if "{" not in work.action.title else "Palimpsest: fill every hole"
    progress = WorkDoneProgress(server, title, token, lambda: work.running.end(jobs.CANCELLED))
    news = Drafts(session, work)
    work.watchers += [news.show, lambda draft: progress.report(draft.settled_share)]
    reason = jobs.CANCELLED
    try:
        written = await finish(session, work)
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


async def mend(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Apply the edit that the parsers find; if there is none, ask the engine. Raises Refused."""
    reason = await repair.at_once(server, target)
    if reason is None:
        return await fill(server, target, token)
    return Done(reason, 1, int(not reason), "parser")


async def switch(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Replace the last fill with an alternative. Raises Refused."""
    document, changes = alternatives.chosen(server.session, target)
    encoding = server.session.documents.encoding
    change = versioned(document, changes, server.client_capabilities, encoding, ALTERNATIVE)
    reason = await apply(server, change, "Palimpsest: alternative")
    return Done(reason, 1, int(not reason), "cache")


_RUN = {ALTERNATIVE: switch, "repair": mend}

# One job


@dataclass(slots=True)
class Work:
    """A command under way. base, holes, within, mender: known once the request is made; holes are those of the request.

    mender: of the text, where the syntax is known.
    """

    action: Action
    document: Snapshot
    target: Target
    running: jobs.Running = field(init=False)
    watchers: list[Callable[[Draft], None]] = field(default_factory=list)
    base: int = 0
    holes: tuple[Span, ...] = ()
    within: Span = field(default=Span(0, 0))
    mender: Mender | None = None

    def drafted(self, draft: Draft) -> None:
        """Pass a draft on to all watchers."""
        for watch in self.watchers:
            watch(draft)

    def place(self, hole: int) -> Span:
        """Return the place of a hole in the document."""
        return Span(self.base + self.holes[hole].start, self.base + self.holes[hole].end)


@dataclass(frozen=True, slots=True)
class Written:
    """The edits of the document. candidates: of the only hole, the text that was written, and the others."""

    changes: tuple[edits.Edit, ...]
    candidates: tuple[str, ...] = ()


def begin(session: Session, target: Target) -> Work:
    """Start the job. Raises Refused if nothing can be done in the document."""
    document = document_of(session, target)
    assert session.engine.opened is not None, "refusal() answers when there is no engine"
    work = Work(RUNNABLE[target.action], document, target)
    work.running = session.jobs.start(
        session.engine.opened,
        document.uri,
        work,
        "command",
        lambda: request_for(session, work),
        work.drafted,
        lambda _: session.publisher.publish(),
        session.settings.deadline_ms / 1000,
    )
    session.publisher.publish()
    return work


async def request_for(session: Session, work: Work) -> FillRequest:
    """Make one request of all holes of the action. Raises Refused if there are none, or the file is not to be touched."""
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
    first = work.holes[0].start
    settings, surroundings = session.settings_for(document), session.surroundings
    if reason := await surroundings.objection(document, scene.text, first, settings, automatic=False):
        raise jobs.Refused(reason)
    return FillRequest(
        scene.text,
        work.holes,
        document=document.uri,
        language=document.language or None,
        path=str(document.path or "") or None,
        seed=settings.seed,
        strength=action.strength,
        context=await surroundings.excerpts(document, scene.base + first, settings, session.engine.status()),
        candidates=settings.candidates if len(work.holes) == 1 else 1,
        tidy=not work.target.instruction,
        edit=True,
        instruction=work.target.instruction,
    )


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
    candidates = tuple(texts[0] for texts in choices) if len(request.holes) == 1 else ()
    return Written(changes, candidates)


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
