"""Make one edit of all changes to a document, and have the client apply it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from palimpsest_server.documents.edits import Edit
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions import capabilities
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.lifecycle import UnreadableAnswer
from palimpsest_server.server import Server

_PATIENCE_SECONDS = 600.0  # the user may want to read the edit first
BY_A_MODEL = "written by a language model on this machine"
UNSAID = "the client did not say whether it applied the edit"


def versioned(
    document: Snapshot,
    changes: Sequence[Edit],
    can: types.ClientCapabilities,
    encoding: positions.Encoding,
    what: str,
    *,
    by: str = BY_A_MODEL,
) -> types.WorkspaceEdit:
    """Return the changes as one edit: it is undone in one step, and refused if the document is at another version by then.

    It has a note on who wrote them (`by`), where the client has a place for that.
    """
    ranges = [(document.range_at(change.span.start, change.span.end, encoding), change.text) for change in changes]
    identifier = types.OptionalVersionedTextDocumentIdentifier(document.uri, document.version)
    if not capabilities.annotates(can):
        plain_edits = [types.TextEdit(where, text) for where, text in ranges]
        return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(identifier, plain_edits)])
    name = "palimpsest"
    edits = [types.AnnotatedTextEdit(name, where, text) for where, text in ranges]
    note = types.ChangeAnnotation(f"Palimpsest: {what}", needs_confirmation=False, description=by)
    return types.WorkspaceEdit(
        document_changes=[types.TextDocumentEdit(identifier, edits)], change_annotations={name: note}
    )


def appended(
    uri: str,
    version: int | None,
    where: types.Range,
    text: str,
    can: types.ClientCapabilities,
    *,
    new: bool,
) -> types.WorkspaceEdit:
    """Return the edit that puts a text in another file, which is made if it is `new`. version: None if it is not open."""
    identifier = types.OptionalVersionedTextDocumentIdentifier(uri, version)
    name = "palimpsest" if capabilities.annotates(can) else None
    edit = types.AnnotatedTextEdit(name, where, text) if name else types.TextEdit(where, text)
    made = types.CreateFile(uri, options=types.CreateFileOptions(overwrite=False), annotation_id=name)
    note = types.ChangeAnnotation("Palimpsest: write a test", needs_confirmation=False, description=BY_A_MODEL)
    changes: list[types.TextDocumentEdit | types.CreateFile | types.RenameFile | types.DeleteFile] = [
        types.TextDocumentEdit(identifier, [edit])
    ]
    return types.WorkspaceEdit(
        document_changes=[made, *changes] if new else changes, change_annotations={name: note} if name else None
    )


async def apply(server: Server, change: types.WorkspaceEdit, label: str) -> str:
    """Have the client apply an edit; return the reason if it does not."""
    can = server.client_capabilities
    if not capabilities.can_apply(can):
        return "the client does not apply versioned edits"
    metadata = types.WorkspaceEditMetadata(is_refactoring=True) if capabilities.takes_metadata(can) else None
    params = types.ApplyWorkspaceEditParams(change, label=label, metadata=metadata)
    try:
        answer = await asyncio.wait_for(server.workspace_apply_edit_async(params), _PATIENCE_SECONDS)
    except UnreadableAnswer:
        return UNSAID
    except JsonRpcException as error:
        return f"the client refused the edit: {error}"
    except TimeoutError:
        return UNSAID
    if answer is None:
        return UNSAID
    return "" if answer.applied else answer.failure_reason or "the client did not apply the edit"
