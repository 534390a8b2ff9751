"""Run the command of a code action to its end, and tell the client the result."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from lsprotocol import types

from palimpsest_server.features.code_actions import alternatives, converse, explain, repair, write_test
from palimpsest_server.features.code_actions.catalog import (
    ALTERNATIVE,
    CONVERSING,
    EARLIER,
    EXPLAIN,
    FOLLOW_UP,
    INSTRUCT,
    LATER,
    TEST,
)
from palimpsest_server.features.code_actions.target import Target
from palimpsest_server.features.code_actions.work import Done, fill
from palimpsest_server.features.code_actions.workspace_edit import UNSAID, apply, versioned
from palimpsest_server.server import Server
from palimpsest_server.session import jobs


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
        unchanged = "" if done.reason == UNSAID or target.action == EXPLAIN else "nothing was changed: "
        server.warn(f"Palimpsest: {unchanged}{done.reason}")
    result: dict[str, Any] = {
        "applied": not done.reason,
        "reason": done.reason or None,
        "holes": done.holes,
        "filled": done.filled,
    }
    if target.action in CONVERSING and "conversation" not in done.more:
        # Else it is known: the client may have applied an edit that it has not told of yet.
        result["conversation"] = converse.told(session, target)
    return result | dict(done.more)


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


_RUN: dict[str, Callable[[Server, Target, types.ProgressToken | None], Coroutine[None, None, Done]]] = {
    ALTERNATIVE: switch,
    "repair": mend,
    INSTRUCT: converse.instruct,
    FOLLOW_UP: converse.follow_up,
    EARLIER: converse.earlier,
    LATER: converse.later,
    EXPLAIN: explain.explain,
    TEST: write_test.write_test,
}
