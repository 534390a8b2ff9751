"""`textDocument/codeAction` and `codeAction/resolve`, as JSON."""

import asyncio

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

FILL = {
    "title": "Palimpsest: fill the selection (write new code here)",
    "kind": "refactor.rewrite.palimpsest.fill",
    "tags": [types.CodeActionTag.LlmGenerated.value],
}
SELECTION = ["fill", "touchUp", "rework", "rewrite"]


def client(**more):
    """Return a client's support for code actions, with some more of it."""
    return types.TextDocumentClientCapabilities(
        code_action=types.CodeActionClientCapabilities(
            code_action_literal_support=types.ClientCodeActionLiteralOptions(
                types.ClientCodeActionKindOptions(["refactor.rewrite"])
            ),
            tag_support=types.CodeActionTagOptions([types.CodeActionTag.LlmGenerated]),
            **more,
        )
    )


async def actions(editor, start, end, only=None, trigger=None, diagnostics=()):
    """Return the answer as JSON: the client library takes every action that has a command for a bare `Command`."""
    params = types.CodeActionParams(
        types.TextDocumentIdentifier(editor.uri),
        types.Range(types.Position(*start), types.Position(*end)),
        types.CodeActionContext(list(diagnostics), only=only, trigger_kind=trigger),
    )
    protocol = editor.client.protocol
    answer = protocol.send_request(types.TEXT_DOCUMENT_CODE_ACTION, params, msg_id="actions")
    del protocol._result_types["actions"]
    return await asyncio.wrap_future(answer)


def ids(found):
    return [action["command"]["arguments"][0]["action"] for action in found]


async def test_a_selection_can_be_filled_and_rewritten(connect):
    editor = await connect()
    editor.open("a = 1\n")
    found = await actions(editor, (0, 4), (0, 5))
    assert ids(found) == SELECTION
    assert found[0] == FILL | {
        "command": {
            "title": "Palimpsest: fill the selection (write new code here)",
            "command": "palimpsest.run",
            "arguments": [
                {
                    "action": "fill",
                    "uri": editor.uri,
                    "version": 1,
                    "range": {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 5}},
                }
            ],
        },
    }


OFFERED = [
    ((0, 2), (0, 2), None, ["fillHoles"]),
    ((0, 2), (0, 2), ["refactor"], []),
    ((1, 0), (1, 0), None, ["fill", "fillHoles"]),
    ((0, 0), (0, 5), ["refactor"], SELECTION),
    ((0, 0), (0, 5), ["refactor.rewrite.palimpsest.rework"], ["rework"]),
    ((0, 0), (0, 5), ["quickfix"], []),
    ((3, 6), (3, 6), None, ["complete", "fillHoles"]),
    ((3, 6), (3, 6), ["source"], ["fillHoles"]),
    ((4, 4), (4, 4), ["quickfix"], ["repair"]),
]


async def test_actions_are_offered_by_place_and_kind(connect):
    editor = await connect()
    editor.open("a = 1\n\ndef f(b):\n    pass\nc = (1\n")
    for start, end, only, expected in OFFERED:
        assert ids(await actions(editor, start, end, only)) == expected, (start, end, only)


async def test_nothing_happens_when_a_file_is_saved(connect):
    editor = await connect()
    editor.open("def f(b):\n    pass\nc = (1\n")
    trigger = types.CodeActionTriggerKind.Automatic
    for only in (["source"], ["source.fixAll"], ["refactor"], ["quickfix"]):
        assert await actions(editor, (0, 0), (3, 0), only, trigger) == []


async def test_problems_of_other_tools_can_be_repaired(connect):
    editor = await connect({"script": ["known"]})
    editor.open("a = unknown\n")
    where = types.Range(types.Position(0, 4), types.Position(0, 11))
    complaint = types.Diagnostic(where, "unknown is not defined", severity=types.DiagnosticSeverity.Error)
    (repair,) = await actions(editor, (0, 4), (0, 4), ["quickfix"], diagnostics=[complaint])
    assert repair["kind"] == "quickfix.palimpsest"
    command = types.ExecuteCommandParams(repair["command"]["command"], repair["command"]["arguments"])
    assert (await editor.client.workspace_execute_command_async(command))["applied"]
    (edit,) = editor.edits[0].edit.document_changes[0].edits
    assert (edit.range.start.character, edit.range.end.character, edit.new_text) == (4, 6, "")  # un|known


@pytest.mark.parametrize("workspace", [None, types.WorkspaceClientCapabilities(apply_edit=True)])
async def test_clients_that_cannot_apply_versioned_edits_are_offered_no_actions(connect, capabilities, workspace):
    editor = await connect(able=capabilities(workspace=workspace))
    editor.open("a = 1\n")
    assert await actions(editor, (0, 0), (0, 5)) == []


async def test_clients_without_literals_get_commands(connect, capabilities):
    editor = await connect(able=capabilities(text_document=types.TextDocumentClientCapabilities()))
    editor.open("a = 1\n")
    found = await actions(editor, (0, 0), (0, 5))
    assert [action["command"] for action in found] == ["palimpsest.run"] * len(SELECTION)
    assert [action["arguments"][0]["action"] for action in found] == SELECTION


async def test_a_request_for_one_kind_shows_why_it_is_disabled(connect, capabilities):
    editor = await connect(able=capabilities(text_document=client(disabled_support=True)))
    editor.open("a = 1\n")
    (rework,) = await actions(editor, (0, 0), (0, 0), ["refactor.rewrite.palimpsest.rework"])
    assert rework["disabled"] == {"reason": "select some code first"}
    assert "command" not in rework


async def test_no_actions_are_offered_while_palimpsest_is_switched_off(connect):
    editor = await connect(settings={"enable": False})
    editor.open("a = 1\n")
    assert await actions(editor, (0, 0), (0, 5)) == []


async def test_a_document_that_is_not_open_has_none(connect):
    editor = await connect()
    assert await actions(editor, (0, 0), (0, 5)) == []


@pytest.fixture
async def chosen(connect, capabilities):
    """Connect an editor for which 10 was written, and 20 is the alternative."""
    resolve = client(data_support=True, resolve_support=types.ClientCodeActionResolveOptions(["edit"]))
    engine = {"kind": "choices", "script": ["10", "20"]}
    editor = await connect(engine, able=capabilities(text_document=resolve))
    editor.open("a = 1\n")
    where = {"start": {"line": 0, "character": 4}, "end": {"line": 0, "character": 5}}
    run = types.ExecuteCommandParams("palimpsest.run", [{"action": "rewrite", "uri": editor.uri, "range": where}])
    assert (await editor.client.workspace_execute_command_async(run))["applied"]
    (edit,) = editor.edits[0].edit.document_changes[0].edits
    editor.change(types.TextDocumentContentChangePartial(edit.range, edit.new_text))
    return editor


def resolve(editor, action):
    params = types.CodeAction(action["title"], kind=action["kind"], data=action["data"])
    return editor.client.code_action_resolve_async(params)


async def test_an_alternative_is_resolved_to_a_versioned_edit(chosen):
    (action,) = await actions(chosen, (0, 0), (0, 0), ["refactor"])
    assert action["title"] == "Palimpsest: instead, 20"
    assert set(action) == {"title", "kind", "tags", "data"}
    resolved = await resolve(chosen, action)
    (change,) = resolved.edit.document_changes
    assert change.text_document == types.OptionalVersionedTextDocumentIdentifier(chosen.uri, 2)
    one = types.Range(types.Position(0, 4), types.Position(0, 5))
    assert list(change.edits) == [types.TextEdit(one, "2")]


async def test_an_alternative_for_an_older_document_is_refused(chosen):
    (action,) = await actions(chosen, (0, 0), (0, 0), ["refactor"])
    chosen.type(0, 0, "x")
    with pytest.raises(JsonRpcException, match="the document changed") as caught:
        await resolve(chosen, action)
    assert caught.value.code == types.LSPErrorCodes.ContentModified
    assert await chosen.reason() == "the document changed"


async def test_data_that_makes_no_sense_is_an_error(chosen):
    with pytest.raises(JsonRpcException, match="expects one argument") as caught:
        await resolve(chosen, {"title": "x", "kind": "refactor", "data": {"action": "explode"}})
    assert caught.value.code == -32602
