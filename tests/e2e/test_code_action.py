"""`textDocument/codeAction`."""

import asyncio

import pytest
from lsprotocol import types


async def actions(editor, start, end, only=None):
    """The answer as JSON: the client library takes every action that has a command for a bare `Command`."""
    params = types.CodeActionParams(
        types.TextDocumentIdentifier(editor.uri),
        types.Range(types.Position(*start), types.Position(*end)),
        types.CodeActionContext([], only=only),
    )
    protocol = editor.client.protocol
    answer = protocol.send_request(types.TEXT_DOCUMENT_CODE_ACTION, params, msg_id="actions")
    del protocol._result_types["actions"]
    return await asyncio.wrap_future(answer)


async def test_a_selection_can_be_filled(connect):
    editor = await connect()
    editor.open("a = 1\n")
    (action,) = await actions(editor, (0, 4), (0, 5))
    assert action == {
        "title": "Palimpsest: fill the selection",
        "kind": "refactor.rewrite",
        "tags": [types.CodeActionTag.LlmGenerated.value],
        "command": {
            "title": "Palimpsest: fill the selection",
            "command": "palimpsest.fillSelection",
            "arguments": [
                {
                    "uri": editor.uri,
                    "version": 1,
                    "range": {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 5}},
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("start", "end", "only", "count"),
    [
        ((0, 2), (0, 2), None, 0),
        ((1, 0), (1, 0), None, 1),
        ((0, 0), (0, 5), ["refactor"], 1),
        ((0, 0), (0, 5), ["quickfix"], 0),
    ],
)
async def test_where_and_for_whom_it_is_offered(connect, start, end, only, count):
    editor = await connect()
    editor.open("a = 1\n")
    assert len(await actions(editor, start, end, only)) == count


@pytest.mark.parametrize("workspace", [None, types.WorkspaceClientCapabilities(apply_edit=True)])
async def test_it_is_not_offered_to_clients_that_cannot_apply_versioned_edits(connect, capabilities, workspace):
    editor = await connect(able=capabilities(workspace=workspace))
    editor.open("a = 1\n")
    assert await actions(editor, (0, 0), (0, 5)) == []


async def test_clients_without_literals_get_a_command(connect, capabilities):
    editor = await connect(able=capabilities(text_document=types.TextDocumentClientCapabilities()))
    editor.open("a = 1\n")
    (action,) = await actions(editor, (0, 0), (0, 5))
    assert action["command"] == "palimpsest.fillSelection"


async def test_it_is_not_offered_where_it_is_switched_off(connect):
    editor = await connect(settings={"enable": False})
    editor.open("a = 1\n")
    assert await actions(editor, (0, 0), (0, 5)) == []
