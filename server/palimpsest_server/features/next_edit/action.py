"""Offer the next edit as a code action, and run its command, for clients that do not know the method."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from palimpsest_server.documents.edits import Edit
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions import capabilities
from palimpsest_server.features.code_actions.offer import Offers, wanted
from palimpsest_server.features.code_actions.repair import BY_THE_PARSER
from palimpsest_server.features.code_actions.workspace_edit import apply, versioned
from palimpsest_server.features.next_edit.answer import Answer, Ask, Offered, answered, next_edits
from palimpsest_server.features.next_edit.params import Wanted
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.methods import ACCEPTED_EDIT, NEXT, NEXT_EDIT_ACTION
from palimpsest_server.server import Server
from palimpsest_server.session.session import Session

_WHAT = "next edit"


async def offered(
    session: Session, document: Snapshot, params: types.CodeActionParams, can: types.ClientCapabilities
) -> Offers:
    """Return the next edit as an action, if there is one: with its edit, or as a command where clients take no edits."""
    automatic = params.context.trigger_kind is types.CodeActionTriggerKind.Automatic
    only = params.context.only
    unwanted = session.next_edits.asks or (automatic and only) or not wanted(NEXT_EDIT_ACTION, only)
    if unwanted or not capabilities.can_apply(can) or not session.documents.changes.any:
        return []
    encoding = session.documents.encoding
    cursor = document.content.offset_at(params.range.end, encoding)
    answer = await next_edits(session, Ask(document, cursor, invoked=not automatic, shown=False))
    return [_action(each, document, params.range.end, can, encoding) for each in answer.edits]


def _action(
    offer: Offered,
    document: Snapshot,
    cursor: types.Position,
    can: types.ClientCapabilities,
    encoding: positions.Encoding,
) -> types.CodeAction | types.Command:
    title = f"Palimpsest: {_WHAT}: {offer.edit.reason}"
    if capabilities.knows_literals(can) and capabilities.knows_versions(can):
        accepted = types.Command("Accept the next edit", ACCEPTED_EDIT, arguments=[offer.known.id])
        edit = _workspace_edit(offer, can, encoding)
        return types.CodeAction(title, kind=NEXT_EDIT_ACTION, edit=edit, command=accepted)
    position = {"line": cursor.line, "character": cursor.character}
    identifier = {"uri": document.uri, "version": document.version}
    return types.Command(title, NEXT, arguments=[{"textDocument": identifier, "position": position}])


def _workspace_edit(offer: Offered, can: types.ClientCapabilities, encoding: positions.Encoding) -> types.WorkspaceEdit:
    change = Edit(offer.edit.span, offer.edit.text)
    return versioned(offer.document, [change], can, encoding, _WHAT, by=BY_THE_PARSER)


async def run(server: Server, asked: Wanted) -> dict[str, Any]:
    """Have the client apply the next edit, and show it, or only show its place; return the result."""
    session = server.session
    with session.requests.under_way(NEXT):
        answer = await answered(session, asked.asked, shown=False)
        reason = answer.reason or await _done(server, answer, jumps=asked.jumps)
        session.publisher.answered(NEXT, reason, "" if reason else "parser")
    first = answer.edits[0] if answer.edits else None
    return {
        "applied": not reason and not asked.jumps,
        "reason": reason or None,
        "uri": first.document.uri if first else None,
        "why": first.edit.reason if first else None,
    }


async def _done(server: Server, answer: Answer, *, jumps: bool) -> str:
    """Apply or show the edit; return why that cannot be done, or ""."""
    session, (offer, *_) = server.session, answer.edits
    encoding, span = session.documents.encoding, offer.edit.span
    can = server.client_capabilities
    shows = can.window is not None and can.window.show_document is not None and can.window.show_document.support
    place = offer.document.range_at(span.start, span.end, encoding)
    if not jumps:
        if reason := await apply(server, _workspace_edit(offer, can, encoding), f"Palimpsest: {_WHAT}"):
            return reason
        session.next_edits.accepted(offer.known.id)
        now = offer.document.content.replaced(span.start, span.end, offer.edit.text)
        place = now.range_at(span.start, span.start + len(offer.edit.text), encoding)
    elif not shows:
        return "the client does not show documents"
    if shows:
        shown = types.ShowDocumentParams(offer.document.uri, take_focus=True, selection=place)
        server.background(_show(server, shown))
    return ""


async def _show(server: Server, shown: types.ShowDocumentParams) -> None:
    with suppress(JsonRpcException, asyncio.CancelledError):
        await server.window_show_document_async(shown)
