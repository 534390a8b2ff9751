"""Read from a client's capabilities what it can do with code actions and edits."""

from __future__ import annotations

from lsprotocol import types

Client = types.ClientCapabilities


def can_apply(can: Client) -> bool:
    """Return whether the client takes edits that name the version they are for; others could hit another text."""
    return bool(can.workspace and can.workspace.apply_edit and knows_versions(can))


def knows_versions(can: Client) -> bool:
    """Return whether edits for this client can name the version they are for."""
    edits = _edits(can)
    return bool(edits and edits.document_changes)


def creates(can: Client) -> bool:
    """Return whether the client creates files."""
    edits = _edits(can)
    return bool(edits and types.ResourceOperationKind.Create in (edits.resource_operations or ()))


def annotates(can: Client) -> bool:
    """Return whether the client takes a note on the origin of an edit."""
    edits = _edits(can)
    return bool(edits and edits.change_annotation_support)


def takes_metadata(can: Client) -> bool:
    """Return whether the client takes metadata with an edit."""
    edits = _edits(can)
    return bool(edits and edits.metadata_support)


def knows_literals(can: Client) -> bool:
    """Return whether the client knows actions, not only bare commands."""
    actions = _actions(can)
    return bool(actions and actions.code_action_literal_support)


def shows_disabled(can: Client) -> bool:
    """Return whether the client can show an action that does not work now, and why."""
    actions = _actions(can)
    return bool(knows_literals(can) and actions and actions.disabled_support)


def resolves(can: Client) -> bool:
    """Return whether the client asks for the edit of an action when it is chosen."""
    actions = _actions(can)
    support = actions and actions.data_support and actions.resolve_support
    return bool(knows_literals(can) and support and "edit" in support.properties)


def tags(can: Client) -> list[types.CodeActionTag] | None:
    """Return the tag for generated code, if the client knows it."""
    actions = _actions(can)
    known = actions and actions.tag_support
    generated = types.CodeActionTag.LlmGenerated
    return [generated] if known and generated in known.value_set else None


def _actions(can: Client) -> types.CodeActionClientCapabilities | None:
    return can.text_document.code_action if can.text_document else None


def _edits(can: Client) -> types.WorkspaceEditClientCapabilities | None:
    return can.workspace.workspace_edit if can.workspace else None
