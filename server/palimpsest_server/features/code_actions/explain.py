"""Explain the selected lines in words; nothing is edited."""

from __future__ import annotations

from dataclasses import replace

from lsprotocol import types

from palimpsest_engine import Draft
from palimpsest_server.features.code_actions.target import Target
from palimpsest_server.features.code_actions.work import Done, Work, begin
from palimpsest_server.features.progress import WorkDoneProgress
from palimpsest_server.server import Server
from palimpsest_server.session import jobs

_ASKED = "Explain what this code does."
_SHOWN = 80  # characters of a draft


async def explain(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Return the explanation in the result, and show it to a client that would not. Raises Refused if there is none."""
    session = server.session
    work = begin(session, replace(target, instruction=target.instruction or _ASKED))
    [text] = await outcome(server, work, token)
    if not session.abilities.explains:
        server.tell(text)
    return Done("", 1, 0, more={"applied": False, "explanation": text})


async def outcome(server: Server, work: Work, token: types.ProgressToken | None) -> tuple[str, ...]:
    """Wait for the texts of a job whose drafts are shown in its progress alone. Raises Refused if there are none."""
    progress = WorkDoneProgress(server, work.title, token, lambda: work.running.end(jobs.CANCELLED))
    work.watchers.append(lambda draft: progress.report(draft.settled_share, last_words(draft)))
    reason = jobs.CANCELLED
    try:
        ended = await work.running.wait()
        assert ended is not None, "only a limited wait has no outcome"
        reason = server.session.moved_on(work.document) or ended.reason
        if reason or ended.fill is None:
            raise jobs.Refused(reason)
        return ended.fill.texts
    finally:
        progress.end(reason)


def last_words(draft: Draft) -> str:
    """Return the end of a draft, in one line."""
    return " ".join("".join(draft.texts).split())[-_SHOWN:]
