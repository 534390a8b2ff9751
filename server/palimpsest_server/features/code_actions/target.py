"""Read the argument of a command: which action, on which document, where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions.catalog import (
    EXPLAIN,
    FOLLOW_UP,
    INSTRUCT,
    RUNNABLE,
    WITHOUT_MODEL,
)
from palimpsest_server.protocol.methods import FILL_SELECTION
from palimpsest_server.session import jobs
from palimpsest_server.session.permission import ban, refusal, untrained
from palimpsest_server.session.session import Session

LONGEST_INSTRUCTION = 10_000  # characters
_ALL = tuple(dict.fromkeys((*RUNNABLE, *WITHOUT_MODEL)))
_TOLD = (INSTRUCT, FOLLOW_UP)
_ANYWHERE = ("fillHoles", FOLLOW_UP, *WITHOUT_MODEL)


@dataclass(frozen=True, slots=True)
class Target:
    """An action and a place. range: None for the whole document. version: None for the present one.

    problems: the places of other tools' errors. number: of the alternative. instruction: what to do with the lines.
    diagnostics: what other tools say, and where; None if the client has not said.
    """

    action: str
    uri: str
    range: types.Range | None
    version: int | None = None
    problems: tuple[types.Range, ...] = ()
    number: int = 0
    instruction: str = ""
    diagnostics: tuple[tuple[types.Range, str], ...] | None = None


def target_of(command: str, *arguments: Any) -> Target:
    """Read the one argument of a command, or the data of an action. Raises JsonRpcInvalidParams, in a sentence."""
    takes = "{uri, range, version?}" if command == FILL_SELECTION else "{action, uri, range, version?}"

    def wrong(what: str) -> JsonRpcInvalidParams:
        return JsonRpcInvalidParams(f"{command} expects one argument {takes}; {what}")

    if len(arguments) != 1 or not isinstance(arguments[0], dict):
        raise wrong(f"it got {len(arguments)}" if len(arguments) != 1 else "it is not an object")
    given = arguments[0]
    action = "fill" if command == FILL_SELECTION else given.get("action")
    uri, version, number = given.get("uri"), given.get("version"), given.get("number", 0)
    if not isinstance(action, str) or action not in _ALL:
        raise wrong(f"action is one of {', '.join(_ALL)}")
    if not isinstance(uri, str):
        raise wrong("uri is not a string")
    if version is not None and type(version) is not int:
        raise wrong("version is not a whole number")
    if type(number) is not int or number < 0:
        raise wrong("number is not a whole number from 0 on")
    instruction = given.get("instruction", "")
    said = isinstance(instruction, str) and bool(instruction.strip())
    if not isinstance(instruction, str) or (action != EXPLAIN and said != (action in _TOLD)):
        raise wrong(f"instruction is a sentence, with the actions {', '.join(_TOLD)} and {EXPLAIN} and with no other")
    try:
        ranged = action not in _ANYWHERE or given.get("range") is not None
        range_ = range_of(given["range"]) if ranged else None
    except (KeyError, TypeError, ValueError) as error:
        raise wrong("range is not a range of positions") from error
    try:
        problems = tuple(range_of(each) for each in given.get("problems") or ())
    except (KeyError, TypeError, ValueError) as error:
        raise wrong("problems is not a list of ranges") from error
    try:
        diagnostics = None if given.get("diagnostics") is None else tuple(map(diagnostic_of, given["diagnostics"]))
    except (KeyError, TypeError, ValueError) as error:
        raise wrong("diagnostics is not a list of {range, message}") from error
    return Target(action, uri, range_, version, problems, number, instruction, diagnostics)


def range_of(given: Any) -> types.Range:
    """Read a range from JSON. Raises KeyError, TypeError or ValueError."""
    start, end = (types.Position(given[edge]["line"], given[edge]["character"]) for edge in ("start", "end"))
    return types.Range(start, end)


def diagnostic_of(given: Any) -> tuple[types.Range, str]:
    """Read where a diagnostic is and what it says. Raises KeyError, TypeError or ValueError."""
    message = given["message"]
    if not isinstance(message, str):
        raise TypeError("a message is a text")
    return range_of(given["range"]), message


def document_of(session: Session, target: Target, *, engine: bool = True) -> Snapshot:
    """Return the document that a command is about. Raises Refused if nothing can be done in it, or it has moved on.

    engine: the command needs one, with a model for edits that was trained on the language.
    """
    if len(target.instruction) > LONGEST_INSTRUCTION:
        length = f"{len(target.instruction):,}"
        raise jobs.Refused(f"the instruction has {length} characters, and up to {LONGEST_INSTRUCTION:,} are taken")
    document = session.documents.snapshot(target.uri)
    if document is None:
        raise jobs.Refused(session.documents.why_not_open(target.uri))
    if reason := (refusal if engine else ban)(session, document):
        raise jobs.Refused(reason)
    if engine and (reason := untrained(session, document, edit=True)):
        raise jobs.Refused(reason)
    if target.version not in (None, document.version):
        raise jobs.Refused(jobs.CHANGED)
    return document
