"""Repair broken syntax: by the parsers at once where they find an edit, else by checking what the model wrote."""

from __future__ import annotations

from collections.abc import Sequence

from palimpsest_engine import FillRequest, Mend, Mender, Span
from palimpsest_server.documents.edits import Edit
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions.scene import broken_within, language_and_path, scene_of
from palimpsest_server.features.code_actions.target import Target, document_of
from palimpsest_server.features.code_actions.workspace_edit import apply, versioned
from palimpsest_server.server import Server
from palimpsest_server.session import jobs
from palimpsest_server.session.session import Session

UNMENDED = "the repair did not mend the syntax"
BY_THE_PARSER = "found by the parser of the language, without a language model"


async def at_once(server: Server, target: Target) -> str | None:
    """Have the client apply the one edit that the parsers prove; return the reason if it did not.

    None if there is no such edit. No engine is asked, and none need be there. Raises Refused.
    """
    session, encoding = server.session, server.session.documents.encoding
    document = document_of(session, target, engine=False)
    chosen = document.span_of(target.range, encoding) if target.range else Span(0, 0)
    scene = await scene_of(session, document, chosen, (), parses=True)
    if scene is None or scene.outline is None or scene.complaints is None:
        return None
    mender = Mender(scene.text, *language_and_path(document), scene.complaints)
    mend: Mend | None = await session.surroundings.off_loop(mender.mend, broken_within(scene))
    if mend is None:
        return None
    settings = session.settings_for(document)
    if reason := await session.surroundings.objection(document, scene.text, mend.span.start, settings, automatic=False):
        raise jobs.Refused(reason)
    if reason := session.moved_on(document):
        raise jobs.Refused(reason)
    place = Span(scene.base + mend.span.start, scene.base + mend.span.end)
    change = versioned(
        document, [Edit(place, mend.text)], server.client_capabilities, encoding, "repair", by=BY_THE_PARSER
    )
    return await apply(server, change, "Palimpsest: repair")


async def proven(
    session: Session,
    document: Snapshot,
    mender: Mender,
    within: Span,
    request: FillRequest,
    choices: Sequence[tuple[str, ...]],
) -> list[tuple[str, ...]]:
    """Return those of the model's texts that mend the syntax; all of them, if it was not broken. Raises Refused if none."""
    mends = await session.surroundings.off_loop(mending, mender, within, request, choices)
    if not mends:
        raise jobs.Refused(UNMENDED)
    if reason := session.moved_on(document):
        raise jobs.Refused(reason)
    return mends


def mending(
    mender: Mender, within: Span, request: FillRequest, choices: Sequence[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Return those of the texts that mend the syntax; all of them, if it was not broken."""
    # A hole may reach beyond what was looked at, to the end of a word.
    within = Span(min(within.start, request.holes[0].start), max(within.end, request.holes[-1].end))
    if not mender.defects(within):
        return list(choices)
    return [texts for texts in choices if mender.is_mended_by(request, texts)]
