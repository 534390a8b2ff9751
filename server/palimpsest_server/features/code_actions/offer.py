"""Offer code actions for a selection, in the forms that a client understands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lsprotocol import types

from palimpsest_engine import Span
from palimpsest_server.documents import window
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions import capabilities, instructions
from palimpsest_server.features.code_actions.alternatives import last_fill, replacement
from palimpsest_server.features.code_actions.catalog import (
    ACTIONS,
    ALTERNATIVE,
    CANNOT,
    SELECT,
    TEST,
    holes_of,
    why_not,
)
from palimpsest_server.features.code_actions.scene import Scene, scene_of
from palimpsest_server.features.code_actions.workspace_edit import versioned
from palimpsest_server.protocol import methods, positions
from palimpsest_server.protocol.methods import RUN
from palimpsest_server.session.permission import refusal, untrained
from palimpsest_server.session.recent_fills import Standing
from palimpsest_server.session.session import Session

_BAD = (types.DiagnosticSeverity.Error, types.DiagnosticSeverity.Warning, None)
_MOST_PROBLEMS = 100

Offers = list[types.CodeAction | types.Command]


async def offered(
    session: Session, document: Snapshot, params: types.CodeActionParams, can: types.ClientCapabilities
) -> Offers:
    """Return the actions for a selection.

    Editors make automatic requests with `only` when a file is saved: nothing of ours may happen then. They make others at
    every move of the cursor, some clients none but these. Without a selection, these get what is about a hole of the file, if
    the cursor is on one, and what is about something broken or filled before. A light bulb at every cursor would say nothing.
    """
    only, encoding = params.context.only, session.documents.encoding
    automatic = params.context.trigger_kind is types.CodeActionTriggerKind.Automatic
    if automatic and only:
        return []
    selection = document.span_of(params.range, encoding)
    found: Offers = []
    rows = [action for action in ACTIONS.values() if wanted(action.kind, only)]
    modelless = bool(refusal(session, document) or untrained(session, document, edit=True))
    if modelless:  # the parsers may mend something yet
        rows = [action for action in rows if action.id == "repair"]
    if capabilities.can_apply(can):
        bad = [each.range for each in params.context.diagnostics if each.severity in _BAD][:_MOST_PROBLEMS]
        problems = [] if modelless else [document.span_of(each, encoding) for each in bad]
        scene = await scene_of(session, document, selection, problems, parses=any(action.parses for action in rows))
        holes = await holes_of(session, rows, scene)
        explicit = only is not None and "" not in only
        bare = selection.start == selection.end
        off_the_holes = automatic and not (scene and on_one_of(holes.get("fillHoles", ()), scene))
        for action in rows:
            missing = "" if holes[action.id] else why_not(action, scene)
            if action.strength < 1.0 and not session.engine.status().denoises:
                missing = CANNOT
            if missing and not (explicit and capabilities.shows_disabled(can)):
                continue
            if off_the_holes and (bare or action.id == "fillHoles") and action.id != "repair":
                continue
            argument = argument_of(action.id, document, params.range)
            if bad and action.id == "repair":
                argument["problems"] = [positions.as_json(each) for each in bad]
            command = types.Command(action.offered(len(holes[action.id])), RUN, arguments=[argument])
            literals = capabilities.knows_literals(can)
            found.append(literal(action.kind, command, can, missing) if literals else command)
    if not modelless and wanted(methods.ALTERNATIVE, only) and (standing := last_fill(session, document, selection)):
        found += alternatives(document, standing, can, encoding)
    asked = not automatic or session.abilities.only_automatic
    if asked and not modelless and capabilities.can_apply(can) and wanted(methods.INSTRUCT, only):
        found += instructed(session, document, params, can, selection)
    return found if session.documents.current(document) else []


def wanted(kind: str, only: Sequence[str] | None) -> bool:
    """Return whether the client's `only` lets this kind through: it names the kind, or one above it; "" is above all."""
    names = [each.value if isinstance(each, types.CodeActionKind) else each for each in only or ()]
    return only is None or any(not name or f"{kind}.".startswith(f"{name}.") for name in names)


def on_one_of(holes: Iterable[Span], scene: Scene) -> bool:
    """Return whether the selection touches one of the holes."""
    return any(hole.start <= scene.chosen.end and scene.chosen.start <= hole.end for hole in holes)


def alternatives(
    document: Snapshot, standing: Standing, can: types.ClientCapabilities, encoding: positions.Encoding
) -> Offers:
    """Return the other texts for the last fill: as actions, resolved when chosen or with their edit, or as commands."""
    found: Offers = []
    place = document.range_at(standing.span.start, standing.span.end, encoding)
    for number, text in enumerate(standing.others):
        argument = argument_of(ALTERNATIVE, document, place) | {"number": number}
        command = types.Command(f"Palimpsest: instead, {instructions.preview(text)}", RUN, arguments=[argument])
        if capabilities.knows_literals(can) and capabilities.knows_versions(can):
            quick: dict[str, Any] = {"data": argument}
            if not capabilities.resolves(can):
                change = replacement(document, standing, number)
                quick = {"edit": versioned(document, [change] if change else [], can, encoding, ALTERNATIVE)}
            found.append(literal(methods.ALTERNATIVE, command, can, **quick))
        elif capabilities.can_apply(can):
            found.append(command)
    return found


def instructed(
    session: Session,
    document: Snapshot,
    params: types.CodeActionParams,
    can: types.ClientCapabilities,
    selection: Span,
) -> Offers:
    """Return what the model can be told to do with a selection, in so many words; nothing without one.

    A client that names our kinds is shown why it is nothing, if it can show that.
    """
    selected = document.content.slice(selection.start, min(selection.end, selection.start + window.STRIDE))
    missing = "" if instructions.understood(session) else instructions.UNTAUGHT
    missing = missing if selected.strip() else SELECT
    names = [each.value if isinstance(each, types.CodeActionKind) else each for each in params.context.only or ()]
    if missing and not (capabilities.shows_disabled(can) and any(name.startswith(methods.REWRITE) for name in names)):
        return []
    said = [
        {"range": positions.as_json(each.range), "message": each.message}
        for each in params.context.diagnostics[:_MOST_PROBLEMS]
    ]
    found: Offers = []
    for title, what in instructions.instructions(session, document):
        argument = argument_of(what["action"], document, params.range) | what
        if said and what["action"] != TEST:
            argument["diagnostics"] = said
        command = types.Command(f"Palimpsest: {title}", RUN, arguments=[argument])
        found.append(literal(methods.INSTRUCT, command, can, missing) if capabilities.knows_literals(can) else command)
    return found


def literal(
    kind: str, command: types.Command, can: types.ClientCapabilities, missing: str = "", **quick: Any
) -> types.CodeAction:
    """Make an action of a command. missing: why it does not work now. quick: its edit, or the data to resolve that from."""
    return types.CodeAction(
        command.title,
        kind=kind,
        tags=capabilities.tags(can),
        disabled=types.CodeActionDisabled(missing) if missing else None,
        command=None if missing or quick else command,
        **quick,
    )


def argument_of(action: str, document: Snapshot, range_: types.Range) -> dict[str, Any]:
    """Return the one argument of the command that runs an action."""
    return {"action": action, "uri": document.uri, "version": document.version, "range": positions.as_json(range_)}
