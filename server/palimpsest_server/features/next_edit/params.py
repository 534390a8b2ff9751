"""Read the params of requests about next edits. What is unknown is left out, what is wrong is refused in a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from palimpsest_server.protocol.methods import ACCEPTED_EDIT, NEXT, NEXT_EDIT

MOST = 8  # edits in one answer
_MOST_DIAGNOSTICS = 100
_INVOKED = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """The params of a request. version: None for the present one. most: so many edits.

    diagnostics: those of the document; None if the client says nothing of them.
    """

    uri: str
    version: int | None
    position: types.Position
    invoked: bool = True
    most: int = 1
    diagnostics: tuple[types.Diagnostic, ...] | None = None


def asked(params: Any, method: str = NEXT_EDIT) -> Asked:
    """Read the params of a request for the next edit. Raises JsonRpcInvalidParams."""

    def wrong(what: str) -> JsonRpcInvalidParams:
        return JsonRpcInvalidParams(f"{method} expects {{textDocument: {{uri, version?}}, position}}; {what}")

    if not isinstance(params, dict):
        raise wrong("its params are not an object")
    document, position, context = params.get("textDocument"), params.get("position"), params.get("context")
    if not isinstance(document, dict) or not isinstance(document.get("uri"), str):
        raise wrong("textDocument has no uri")
    version = document.get("version")
    if version is not None and type(version) is not int:
        raise wrong("the version is not a whole number")
    edges = [position.get(each) for each in ("line", "character")] if isinstance(position, dict) else [None]
    if not all(type(each) is int for each in edges):
        raise wrong("position is not a position")
    if context is not None and not isinstance(context, dict):
        raise wrong("context is not an object")
    most = params.get("most", 1)
    if type(most) is not int or not 1 <= most <= MOST:
        raise wrong(f"most is not a whole number from 1 to {MOST}")
    invoked = (context or {}).get("triggerKind") == _INVOKED
    said = params.get("diagnostics")
    try:
        diagnostics = None if said is None else tuple(_diagnostic(each) for each in said[:_MOST_DIAGNOSTICS])
    except (KeyError, TypeError, ValueError):
        raise wrong("diagnostics are not a list of diagnostics") from None
    return Asked(document["uri"], version, types.Position(*edges), invoked, most, diagnostics)


def _diagnostic(given: Any) -> types.Diagnostic:
    """Read a diagnostic of the protocol, as far as it is of use. Raises KeyError, TypeError, ValueError."""
    edges = [given["range"][edge][unit] for edge in ("start", "end") for unit in ("line", "character")]
    message, severity = given["message"], given.get("severity")
    if not all(type(each) is int and each >= 0 for each in edges) or not isinstance(message, str):
        raise ValueError
    place = types.Range(types.Position(*edges[:2]), types.Position(*edges[2:]))
    return types.Diagnostic(place, message, severity=None if severity is None else types.DiagnosticSeverity(severity))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The argument of the command. jumps: only show the place."""

    asked: Asked
    jumps: bool


def wanted(arguments: Any) -> Wanted:
    """Read the argument of the command that makes the next edit. Raises JsonRpcInvalidParams."""
    match arguments:
        case [dict() as argument]:
            jumps = argument.get("jump", False)
            if not isinstance(jumps, bool):
                raise JsonRpcInvalidParams(f"{NEXT}: jump is true, false, or left out")
            return Wanted(replace(asked(argument, NEXT), invoked=True, most=1), jumps)
    raise JsonRpcInvalidParams(f"{NEXT} expects one argument {{textDocument: {{uri, version?}}, position, jump?}}")


def accepted(arguments: Any) -> str:
    """Read the argument of the command that follows an accepted edit. Raises JsonRpcInvalidParams."""
    match arguments:
        case [str(id_), *_]:
            return id_
    raise JsonRpcInvalidParams(f"{ACCEPTED_EDIT} expects one argument, the id of an edit")


def shown(params: Any) -> str:
    """Return the id of the edit or suggestion that a notification is about, or ""."""
    match params:
        case {"item": {"command": {"arguments": [str(id_), *_]}}} | {"id": str(id_)}:
            return id_
    return ""
