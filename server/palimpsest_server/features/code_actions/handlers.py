"""Bind code actions and their commands to the wire; import what they do when one is asked for.

`initialize` is answered without.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from palimpsest_server.protocol.methods import FILL_SELECTION, KINDS, RUN

if TYPE_CHECKING:
    from palimpsest_server.documents.store import Snapshot
    from palimpsest_server.server import Server
    from palimpsest_server.session.session import Session

    Actions = list[types.CodeAction | types.Command]
    Offer = Callable[
        [Session, Snapshot, types.CodeActionParams, types.ClientCapabilities], Coroutine[None, None, Actions]
    ]


async def nothing(*given: object) -> Actions:
    """Offer no actions."""
    return []


def register(server: Server, others: Offer = nothing) -> None:
    """Bind code actions and the commands that run them. others: offers actions of another kind, which come first."""
    options = types.CodeActionOptions(code_action_kinds=list(KINDS), resolve_provider=True)

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)
    async def code_action(params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
        from palimpsest_server.features.code_actions import offer
        from palimpsest_server.session.permission import ban

        session = server.session
        document = session.documents.snapshot(params.text_document.uri)
        if document is None or ban(session, document):
            return []
        session.surroundings.diagnosed(document, tuple(params.context.diagnostics))
        can = server.client_capabilities
        found = await offer.offered(session, document, params, can)
        return [*await others(session, document, params, can), *found]

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def resolve(chosen: types.CodeAction) -> types.CodeAction:
        from palimpsest_server.features.code_actions import alternatives

        return chosen if chosen.data is None else alternatives.resolved(server, chosen)

    @server.command(RUN)
    async def run_action(params: types.ExecuteCommandParams) -> dict[str, Any]:
        return await run(RUN, params)

    @server.command(FILL_SELECTION)
    async def fill_selection(params: types.ExecuteCommandParams) -> dict[str, Any]:
        return await run(FILL_SELECTION, params)

    async def run(command: str, params: types.ExecuteCommandParams) -> dict[str, Any]:
        from palimpsest_server.features.code_actions import run
        from palimpsest_server.features.code_actions.target import target_of

        target = target_of(command, *params.arguments or ())
        return await run.run(server, command, target, params.work_done_token)
