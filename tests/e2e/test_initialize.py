"""`initialize`: the capabilities, the chosen encoding, and the settings that are refused aloud."""

import pytest
from lsprotocol import types

from palimpsest_server.features.code_actions.catalog import RUNNABLE
from palimpsest_server.protocol import methods

KINDS = types.PositionEncodingKind


async def test_the_capabilities_are_advertised(connect):
    can = (await connect()).initialized.capabilities
    assert can.inline_completion_provider == types.InlineCompletionOptions()
    assert can.text_document_sync.change == types.TextDocumentSyncKind.Incremental
    assert can.text_document_sync.open_close is True
    assert can.completion_provider is None  # this client has inline completion
    assert can.workspace.workspace_folders.supported
    assert can.code_action_provider.resolve_provider
    assert list(can.code_action_provider.code_action_kinds) == list(methods.KINDS)
    kinds = dict.fromkeys(action.kind for action in RUNNABLE.values())
    assert sorted((*kinds, methods.NEXT_EDIT_ACTION, methods.ALTERNATIVE)) == sorted(methods.KINDS)
    assert set(can.execute_command_provider.commands) == {
        "palimpsest.run",
        "palimpsest.fillSelection",
        "palimpsest.pause",
        "palimpsest.canvas",
        "palimpsest.nextEdit",
        "palimpsest.nextEdit.accept",
    }


async def test_notebooks_are_advertised_to_clients_that_have_them(connect, capabilities):
    able = capabilities(
        notebook_document=types.NotebookDocumentClientCapabilities(types.NotebookDocumentSyncClientCapabilities())
    )
    provider = (await connect(able=able)).initialized.capabilities.notebook_document_sync
    assert provider.notebook_selector


async def test_the_server_names_itself_and_its_version(connect):
    assert (await connect()).initialized.server_info.name == "palimpsest"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, KINDS.Utf16),
        (["utf-8", "utf-16"], KINDS.Utf8),
        (["utf-16", "utf-8"], KINDS.Utf16),
        (["utf-32", "utf-8"], KINDS.Utf32),
        (["utf-7", "utf-32"], KINDS.Utf32),
        (["utf-7"], KINDS.Utf16),
        ([], KINDS.Utf16),
    ],
)
async def test_the_client_s_first_known_encoding_is_chosen(connect, capabilities, offered, chosen):
    editor = await connect(able=capabilities(offered))
    assert editor.initialized.capabilities.position_encoding == chosen


async def test_strange_settings_are_named_and_the_rest_is_taken_up(connect):
    editor = await connect({"script": ["x"]}, {"zap": 1, "seed": "one", "disabledLanguages": ["python"]})
    editor.open("")
    assert await editor.ask(0, 0) is None
    assert await editor.reason() == "palimpsest.disabledLanguages has python"
    shown = [message.message for message in editor.client.messages]
    assert len(shown) == 2
    assert "palimpsest.zap: no such setting" in shown[0]
    assert "palimpsest.seed: expected a whole number" in shown[1]


async def test_a_client_that_can_do_nothing_is_served(connect):
    editor = await connect({"script": ["x"]}, able=types.ClientCapabilities())
    editor.open("")
    assert await editor.ask(0, 0) == "x"
