"""The path of a command: what it is given, the fill it asks for, the one edit that comes of it.

What the actions are is in `actions`, and `code_actions` binds them to the wire. Nothing is ever applied to a document that
has moved on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from palimpsest_engine import Draft, FillRequest, Span
from palimpsest_engine.syntax.outline import Outline
from palimpsest_server.documents import edits
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features import drafts
from palimpsest_server.features.code_actions import catalog
from palimpsest_server.features.code_actions.catalog import ACTIONS, ALTERNATIVE, Action
from palimpsest_server.features.progress import Progress
from palimpsest_server.protocol.methods import DRAFT, FILL_SELECTION
from palimpsest_server.server import Server
from palimpsest_server.session import jobs
from palimpsest_server.session.permission import refusal
from palimpsest_server.session.session import Session

_PATIENCE_SECONDS = 600.0  # somebody may want to read the edit first
_SAME = "the fill is what is there already"
_UNSAID = "the client did not say whether it applied the edit"
_UNMENDED = "the repair did not mend the syntax"


# What a command is given


@dataclass(frozen=True, slots=True)
class Target:
    """What to run and where. range: None for the whole document. version: None for the present one.

    problems: where other tools see errors. number: which alternative.
    """

    action: str
    uri: str
    range: types.Range | None
    version: int | None = None
    problems: tuple[types.Range, ...] = ()
    number: int = 0


def target_of(command: str, *arguments: Any) -> Target:
    """The one argument of a command, or the data of an action. Raises JsonRpcInvalidParams, in a sentence."""
    takes = "{uri, range, version?}" if command == FILL_SELECTION else "{action, uri, range, version?}"

    def wrong(what: str) -> JsonRpcInvalidParams:
        return JsonRpcInvalidParams(f"{command} expects one argument {takes}; {what}")

    if len(arguments) != 1 or not isinstance(arguments[0], dict):
        raise wrong(f"it got {len(arguments)}" if len(arguments) != 1 else "it is not an object")
    given = arguments[0]
    action = "fill" if command == FILL_SELECTION else given.get("action")
    uri, version, number = given.get("uri"), given.get("version"), given.get("number", 0)
    if not isinstance(action, str) or action not in (*ACTIONS, ALTERNATIVE):
        raise wrong(f"action is one of {', '.join((*ACTIONS, ALTERNATIVE))}")
    if not isinstance(uri, str):
        raise wrong("uri is not a string")
    if version is not None and type(version) is not int:
        raise wrong("version is not a whole number")
    if type(number) is not int or number < 0:
        raise wrong("number is not a whole number from 0 on")
    try:
        ranged = action not in ("fillHoles", ALTERNATIVE) or given.get("range") is not None
        range_ = range_of(given["range"]) if ranged else None
    except (KeyError, TypeError, ValueError) as error:
        raise wrong("range is not a range of positions") from error
    try:
        problems = tuple(range_of(each) for each in given.get("problems") or ())
    except (KeyError, TypeError, ValueError) as error:
        raise wrong("problems is not a list of ranges") from error
    return Target(action, uri, range_, version, problems, number)


def range_of(given: Any) -> types.Range:
    """A range from JSON. Raises KeyError, TypeError or ValueError."""
    start, end = (types.Position(given[edge]["line"], given[edge]["character"]) for edge in ("start", "end"))
    return types.Range(start, end)


def document_of(session: Session, target: Target) -> Snapshot:
    """The document that a command is about. Raises Refused if nothing can be done for it, or it has moved on."""
    document = session.documents.snapshot(target.uri)
    if reason := refusal(session, document):
        raise jobs.Refused(reason)
    assert document is not None, "refusal() has a reason for that"
    if target.version not in (None, document.version):
        raise jobs.Refused(jobs.CHANGED)
    return document


# The path of one command


async def run(server: Server, method: str, target: Target, token: types.ProgressToken | None) -> dict[str, Any]:
    """Run an action to its end; its result for the client, to whom the reason why nothing came of it is shown, too."""
    session = server.session
    done = Done(reason=jobs.CANCELLED)
    with session.requests.under_way(method):
        try:
            done = await (switch if target.action == ALTERNATIVE else fill)(server, target, token)
        except jobs.Refused as refused:
            done = Done(reason=str(refused))
        finally:
            session.publisher.answered(method, done.reason, "" if done.reason else done.source)
    if done.reason and done.reason != jobs.CANCELLED:
        server.warn(f"Palimpsest: {'' if done.reason == _UNSAID else 'nothing was changed: '}{done.reason}")
    return {"applied": not done.reason, "reason": done.reason or None, "holes": done.holes, "filled": done.filled}


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: with so many holes filled, or with the reason why nothing was changed."""

    reason: str = ""
    holes: int = 0
    filled: int = 0
    source: str = "model"


async def fill(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Ask the engine, and have the client apply what it wrote. Raises Refused, with the reason why nothing was."""
    session, encoding = server.session, server.session.documents.encoding
    work = begin(session, target)
    title = work.action.titled(1) if "{" not in work.action.title else "Palimpsest: fill every hole"
    progress = Progress(server, title, token, lambda: work.running.end(jobs.CANCELLED))
    news = Drafts(session, work)
    work.watchers += [news.show, lambda draft: progress.report(draft.settled_share)]
    reason = jobs.CANCELLED
    try:
        written = await finish(session, work)
        change = catalog.versioned(
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
        session.recent_fills.keep(target.uri, work.document.content, work.place(0), written.candidates)
    return Done("", len(work.holes), len(written.changes))


async def switch(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Put an alternative in the place of the last fill. Raises Refused."""
    document, changes = alternative(server.session, target)
    encoding = server.session.documents.encoding
    change = catalog.versioned(document, changes, server.client_capabilities, encoding, ALTERNATIVE)
    reason = await apply(server, change, "Palimpsest: alternative")
    return Done(reason, 1, int(not reason), "cache")


def resolved(server: Server, action: types.CodeAction) -> types.CodeAction:
    """An alternative that was offered, with its edit. Raises JsonRpcException if the last fill is not there any more."""
    session = server.session
    target = target_of(types.CODE_ACTION_RESOLVE, action.data)
    with session.requests.under_way(types.CODE_ACTION_RESOLVE):
        try:
            document, changes = alternative(session, target)
        except jobs.Refused as refused:
            session.publisher.answered(types.CODE_ACTION_RESOLVE, str(refused))
            raise JsonRpcException(str(refused), types.LSPErrorCodes.ContentModified) from refused
        action.edit = catalog.versioned(
            document, changes, server.client_capabilities, session.documents.encoding, ALTERNATIVE
        )
        session.publisher.answered(types.CODE_ACTION_RESOLVE, source="cache")
    return action


def alternative(session: Session, target: Target) -> tuple[Snapshot, list[edits.Edit]]:
    """The document, and the edit that puts the alternative in. Raises Refused if the last fill is not there any more."""
    document = document_of(session, target)
    near = document.span_of(target.range, session.documents.encoding) if target.range else None
    standing = catalog.last_fill(session, document, near)
    if standing is None or target.number >= len(standing.others):
        raise jobs.Refused("the last fill is not there any more")
    change = catalog.alternative(document, standing, target.number)
    assert change is not None, "the others are not what stands there"
    return document, [change]


# What the engine is asked


@dataclass(slots=True)
class Work:
    """A command under way. base, holes, outline: known once the request is made; holes are those of the request."""

    action: Action
    document: Snapshot
    target: Target
    running: jobs.Running = field(init=False)
    watchers: list[Callable[[Draft], None]] = field(default_factory=list)
    base: int = 0
    holes: tuple[Span, ...] = ()
    within: Span = field(default=Span(0, 0))
    outline: Outline | None = None

    def drafted(self, draft: Draft) -> None:
        """Tell those who watch."""
        for watch in self.watchers:
            watch(draft)

    def place(self, hole: int) -> Span:
        """Where a hole is in the document."""
        return Span(self.base + self.holes[hole].start, self.base + self.holes[hole].end)


@dataclass(frozen=True, slots=True)
class Written:
    """The edits of the document. candidates: of the only hole, what was written there and what could be instead."""

    changes: tuple[edits.Edit, ...]
    candidates: tuple[str, ...] = ()


def begin(session: Session, target: Target) -> Work:
    """Start the job. Raises Refused if there is no point in it."""
    document = document_of(session, target)
    assert session.engine.opened is not None, "refusal() answers when there is no engine"
    work = Work(ACTIONS[target.action], document, target)
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
    """All holes of the action in one request. Raises Refused if there are none, or the file is not to be touched."""
    action, document, encoding = work.action, work.document, session.documents.encoding
    chosen = document.span_of(work.target.range, encoding) if work.target.range else Span(0, 0)
    problems = [document.span_of(problem, encoding) for problem in work.target.problems]
    scene = await catalog.scene_of(session, document, chosen, problems, parses=action.parses)
    work.holes = (await catalog.holes_of(session, [action], scene))[action.id]
    if scene is None or not work.holes:
        raise jobs.Refused(catalog.why_not(action, scene))
    work.base, work.outline, work.within = scene.base, scene.outline, catalog.broken_within(scene)
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
        tidy=True,
    )


async def finish(session: Session, work: Work) -> Written:
    """The edits that a job comes to. Raises Refused, with the reason why there are none."""
    outcome = await work.running.wait()
    assert outcome is not None, "without a limit there is an outcome"
    if not session.documents.current(work.document):
        raise jobs.Refused(jobs.CHANGED)
    if outcome.fill is None:
        raise jobs.Refused(outcome.reason)
    request = work.running.request
    assert request is not None, "a job with a fill has had a request"
    choices = [written(work, request, texts) for texts in (outcome.fill.texts, *outcome.fill.alternatives)]
    if work.action.id == "repair" and work.outline is not None:
        choices = await session.surroundings.off_loop(mending, work.outline, work.within, request, choices)
        if not choices:
            raise jobs.Refused(_UNMENDED)
        if not session.documents.current(work.document):
            raise jobs.Refused(jobs.CHANGED)
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
    """What the holes are to read, with the document's line ends. Code is not replaced by nothing, but in a repair."""
    return tuple(
        edits.with_line_ends_of(request.text, text)
        if text.strip() or work.action.id == "repair"
        else request.text[hole.start : hole.end]
        for hole, text in zip(request.holes, texts, strict=True)
    )


def mending(
    outline: Outline, within: Span, request: FillRequest, choices: Sequence[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Those of the texts that leave fewer lines broken; all of them, if it was not the syntax that was broken."""
    # A hole may reach beyond what was looked at, to the end of a word.
    within = Span(min(within.start, request.holes[0].start), max(within.end, request.holes[-1].end))
    before = broken_lines(outline, request.text, within)
    if not before:
        return list(choices)
    mends = []
    for texts in choices:
        text = request.splice(texts)
        now = Span(within.start, within.end + len(text) - len(request.text))
        after = Outline(text, request.language, request.path, outline)
        if broken_lines(after, text, now) < before:
            mends.append(texts)
    return mends


def broken_lines(outline: Outline, text: str, within: Span) -> int:
    """How many lines the syntax is broken on."""
    return sum(text.count("\n", span.start, span.end) + 1 for span in outline.defects(within))


class Drafts:
    """Shows the drafts of a command to a client that wants them: each hole that reads otherwise, some ten times a second."""

    def __init__(self, session: Session, work: Work) -> None:
        self._session, self._work = session, work
        self._texts: dict[int, str] = {}
        self._last: Draft | None = None
        self._shown = -inf

    def show(self, draft: Draft) -> None:
        """A step was done."""
        self._last = draft
        if self._session.settings.drafts and monotonic() - self._shown >= drafts.SECONDS:
            self._shown = monotonic()
            for hole, text in enumerate(draft.texts):
                if self._texts.get(hole) != text:
                    self._texts[hole] = text
                    self._tell(hole, text, draft, final=False)

    def end(self) -> None:
        """Nothing will be written: the last word on every hole of which a draft was shown, for the same document."""
        if self._last is not None and self._session.documents.current(self._work.document):
            for hole in self._texts:
                self._tell(hole, "", self._last, final=True)

    def _tell(self, hole: int, text: str, draft: Draft, *, final: bool) -> None:
        document, place = self._work.document, self._work.place(hole)
        where = document.range_at(place.start, place.end, self._session.documents.encoding)
        fields = (text, draft.settled_share, draft.step)
        more = {"range": catalog.plain(where), "hole": hole}
        self._session.client.notify(DRAFT, drafts.params(document, where.start, *fields, final=final) | more)


# What the client is asked


async def apply(server: Server, change: types.WorkspaceEdit, label: str) -> str:
    """Have the client apply an edit; the reason if it does not."""
    can = server.client_capabilities
    if not catalog.can_apply(can):
        return "the client does not apply versioned edits"
    knows_metadata = can.workspace and can.workspace.workspace_edit and can.workspace.workspace_edit.metadata_support
    metadata = types.WorkspaceEditMetadata(is_refactoring=True) if knows_metadata else None
    params = types.ApplyWorkspaceEditParams(change, label=label, metadata=metadata)
    try:
        answer = await asyncio.wait_for(server.workspace_apply_edit_async(params), _PATIENCE_SECONDS)
    except JsonRpcException as error:
        return f"the client refused the edit: {error}"
    except TimeoutError:
        return _UNSAID
    return "" if answer.applied else answer.failure_reason or "the client did not apply the edit"
