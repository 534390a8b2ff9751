"""Bind the methods of next edits to the wire; import what they do when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types

from palimpsest_server.features.next_edit import params as read
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.methods import (
    ACCEPTED_EDIT,
    CLOSED_EDIT,
    FOCUSED,
    NEXT,
    NEXT_EDIT,
    PARTLY_ACCEPTED,
    SHOWN,
    SHOWN_EDIT,
)

if TYPE_CHECKING:
    from palimpsest_server.documents.store import Snapshot
    from palimpsest_server.features.next_edit.answer import Offered
    from palimpsest_server.server import Server
    from palimpsest_server.session.session import Session


async def actions(
    session: Session, document: Snapshot, params: types.CodeActionParams, can: types.ClientCapabilities
) -> list[types.CodeAction | types.Command]:
    """Return the next edit as an action, if there is one."""
    from palimpsest_server.features.next_edit import action

    return await action.offered(session, document, params, can)


def register(server: Server) -> None:
    """Bind the request for the next edit, and what clients tell of it."""

    @server.feature(NEXT_EDIT)
    async def next_edit(params: Any) -> dict[str, Any]:
        from palimpsest_server.features.next_edit.answer import answered

        asked, session = read.asked(params), server.session
        session.next_edits.asks = True
        with session.requests.under_way(NEXT_EDIT):
            answer = await answered(session, asked)
            first = answer.edits[0].edit.text if answer.edits else ""
            source = "parser" if answer.edits else ""
            session.publisher.answered(NEXT_EDIT, answer.reason, source, first, aside=not asked.invoked)
            return {"edits": [as_json(each) for each in answer.edits]}

    @server.command(NEXT)
    async def make(params: types.ExecuteCommandParams) -> dict[str, Any]:
        from palimpsest_server.features.next_edit import action

        return await action.run(server, read.wanted(params.arguments))

    def as_json(offered: Offered) -> dict[str, Any]:
        edit, document, id_ = offered.edit, offered.document, offered.known.id
        place = document.range_at(edit.span.start, edit.span.end, server.session.documents.encoding)
        return {
            "text": edit.text,
            "range": positions.as_json(place),
            "textDocument": {"uri": document.uri, "version": document.version},
            "command": {"title": "Accept the next edit", "command": ACCEPTED_EDIT, "arguments": [id_]},
            "palimpsest": {"id": id_, "reason": edit.reason, "kind": edit.kind, "certainty": edit.certainty},
        }

    @server.command(ACCEPTED_EDIT)
    async def accepted(params: types.ExecuteCommandParams) -> None:
        server.session.next_edits.accepted(read.accepted(params.arguments))

    @server.feature(SHOWN_EDIT)
    async def shown_edit(params: Any) -> None:
        server.session.next_edits.shown(read.shown(params))

    @server.feature(CLOSED_EDIT)
    async def closed_edit(params: Any) -> None:
        why = params.get("why") if isinstance(params, dict) else None
        if why in ("refused", "typedOver", "left"):
            server.session.next_edits.closed(read.shown(params), why)

    @server.feature(SHOWN)
    async def shown(params: Any) -> None:
        pass

    @server.feature(PARTLY_ACCEPTED)
    async def partly_accepted(params: Any) -> None:
        pass

    @server.feature(FOCUSED)
    async def focused(params: Any) -> None:
        pass
