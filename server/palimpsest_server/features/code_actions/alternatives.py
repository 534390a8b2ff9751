"""Replace the last fill with an alternative."""

from __future__ import annotations

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from palimpsest_engine import Span
from palimpsest_server.documents.edits import Edit, smallest
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions.catalog import ALTERNATIVE
from palimpsest_server.features.code_actions.target import Target, document_of, target_of
from palimpsest_server.features.code_actions.workspace_edit import versioned
from palimpsest_server.server import Server
from palimpsest_server.session import jobs
from palimpsest_server.session.recent_fills import Standing
from palimpsest_server.session.session import Session


def last_fill(session: Session, document: Snapshot, chosen: Span | None) -> Standing | None:
    """Return the last fill that still stands on a line of the selection, or on any line if there is no selection."""
    for standing in session.recent_fills.find(document.uri, document.content):
        first, _ = document.content.line_around(standing.span.start)
        _, last = document.content.line_around(standing.span.end)
        if chosen is None or (chosen.start <= last and first <= chosen.end):
            return standing
    return None


def replacement(document: Snapshot, standing: Standing, number: int) -> Edit | None:
    """Return the edit that replaces the text that stands there with another. Raises IndexError."""
    return smallest(document.content, standing.span, standing.others[number])


def chosen(session: Session, target: Target) -> tuple[Snapshot, list[Edit]]:
    """Return the document, and the edit that puts the chosen text in. Raises Refused if the last fill is gone."""
    document = document_of(session, target)
    near = document.span_of(target.range, session.documents.encoding) if target.range else None
    standing = last_fill(session, document, near)
    if standing is None or target.number >= len(standing.others):
        raise jobs.Refused("the last fill is not there any more")
    change = replacement(document, standing, target.number)
    assert change is not None, "the others differ from the standing text"
    return document, [change]


def resolved(server: Server, action: types.CodeAction) -> types.CodeAction:
    """Add its edit to an alternative that was offered. Raises JsonRpcException if the last fill is gone."""
    session = server.session
    target = target_of(types.CODE_ACTION_RESOLVE, action.data)
    with session.requests.under_way(types.CODE_ACTION_RESOLVE):
        try:
            document, changes = chosen(session, target)
        except jobs.Refused as refused:
            session.publisher.answered(types.CODE_ACTION_RESOLVE, str(refused))
            raise JsonRpcException(str(refused), types.LSPErrorCodes.ContentModified) from refused
        action.edit = versioned(document, changes, server.client_capabilities, session.documents.encoding, ALTERNATIVE)
        session.publisher.answered(types.CODE_ACTION_RESOLVE, source="cache")
    return action
