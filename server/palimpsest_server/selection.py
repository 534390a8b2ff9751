"""Filling a selection: when the action is offered, what its command is given, the edit that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lsprotocol import types

from palimpsest_engine import Draft, FillRequest, Span
from palimpsest_server import edit, jobs, wire
from palimpsest_server.documents import Snapshot
from palimpsest_server.inline import path_of
from palimpsest_server.session import Session

COMMAND = "palimpsest.fillSelection"
KIND = types.CodeActionKind.RefactorRewrite
TITLE = "Palimpsest: fill the selection"


@dataclass(frozen=True, slots=True)
class Target:
    """What the command is to fill: a range of a document, at a version if the caller knows it."""

    uri: str
    range: types.Range
    version: int | None


def offered(document: Snapshot, span: Span, only: Sequence[str] | None) -> bool:
    """Something is selected, or the cursor is on a blank line; and the client wants this kind of action."""
    if only is not None and not any(kind == "" or f"{KIND.value}.".startswith(f"{kind}.") for kind in only):
        return False
    start, end = wire.line_around(document.text, span.start)
    return span.start < span.end or not document.text[start:end].strip()


def action(document: Snapshot, range_: types.Range, can: types.ClientCapabilities) -> types.CodeAction | types.Command:
    """The action as this client understands it: with the tag for generated code, or as a bare command."""
    command = types.Command(
        TITLE,
        COMMAND,
        arguments=[{"uri": document.uri, "version": document.version, "range": _plain(range_)}],
    )
    wishes = can.text_document and can.text_document.code_action
    if not wishes or not wishes.code_action_literal_support:
        return command
    tagged = wishes.tag_support and types.CodeActionTag.LlmGenerated in wishes.tag_support.value_set
    return types.CodeAction(
        TITLE, kind=KIND, command=command, tags=[types.CodeActionTag.LlmGenerated] if tagged else None
    )


def _plain(range_: types.Range) -> dict[str, dict[str, int]]:
    return {
        "start": {"line": range_.start.line, "character": range_.start.character},
        "end": {"line": range_.end.line, "character": range_.end.character},
    }


def target_of(arguments: Sequence[Any] | None) -> Target:
    """The command's one argument, `{"uri", "range", "version"?}`.

    Raises ValueError, in a sentence, for anything else.
    """
    expected = f"{COMMAND} expects one argument {{uri, range, version?}}"
    if not arguments or len(arguments) != 1 or not isinstance(arguments[0], dict):
        raise ValueError(f"{expected}, not {len(arguments or ())} arguments")
    given = arguments[0]
    uri, version = given.get("uri"), given.get("version")
    if not isinstance(uri, str):
        raise ValueError(f"{expected}; uri is not a string")
    if version is not None and type(version) is not int:
        raise ValueError(f"{expected}; version is not a whole number")
    try:
        start, end = (
            types.Position(given["range"][edge]["line"], given["range"][edge]["character"]) for edge in ("start", "end")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{expected}; range is not a range of positions") from error
    return Target(uri, types.Range(start, end), version)


def span_of(document: Snapshot, range_: types.Range, encoding: wire.Encoding) -> Span:
    """The code points of a range, in order even if the client has it backwards."""
    start = wire.offset_at(document.text, range_.start, encoding)
    end = wire.offset_at(document.text, range_.end, encoding)
    return Span(min(start, end), max(start, end))


async def fill(
    session: Session,
    document: Snapshot | None,
    target: Target,
    on_draft: Callable[[Draft], None],
) -> tuple[edit.Edit | None, str]:
    """The edit that fills the target, or None and the reason; never one for a document that has moved on."""
    if reason := session.refusal(document):
        return None, reason
    assert document is not None, "refusal() has a reason for that"
    assert session.engine is not None, "refusal() answers when there is no engine"
    if target.version not in (None, document.version):
        return None, jobs.CHANGED
    hole = span_of(document, target.range, session.documents.encoding)
    request = FillRequest(
        document.text,
        (hole,),
        document=document.uri,
        language=document.language or None,
        path=path_of(document.uri),
        seed=session.settings.seed,
    )
    running = session.jobs.start(session.engine, request, "selection", on_draft, on_end=lambda _: session.publish())
    session.publish()
    outcome = await running.wait()
    assert outcome is not None, "without a limit there is an outcome"
    if not session.documents.current(document):
        return None, jobs.CHANGED
    if outcome.fill is None:
        return None, outcome.reason
    new = edit.with_line_ends_of(document.text, outcome.fill.texts[0])
    smallest = edit.smallest(document.text, hole, new)
    return smallest, "" if smallest else "the fill is what is there already"


def versioned(document: Snapshot, change: edit.Edit, encoding: wire.Encoding) -> types.WorkspaceEdit:
    """The edit for the wire; the client refuses it if the document is at another version by then."""
    text_edit = types.TextEdit(wire.range_at(document.text, change.span.start, change.span.end, encoding), change.text)
    identifier = types.OptionalVersionedTextDocumentIdentifier(document.uri, document.version)
    return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(identifier, [text_edit])])
