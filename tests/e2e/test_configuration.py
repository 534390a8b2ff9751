"""`workspace/configuration` and `workspace/didChangeConfiguration`."""

from lsprotocol import types


def changed(editor, settings):
    editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings))


async def test_the_client_is_asked_at_the_start_and_ranks_above_initialization(connect):
    editor = await connect(settings={"enable": True}, configuration={"enable": False})
    await editor.until(lambda: editor.statuses)
    assert (await editor.status()).state == "paused"


async def test_a_change_is_taken_up_as_sent(connect):
    editor = await connect()
    changed(editor, {"palimpsest": {"enable": False}, "python": {"other": 1}})
    assert (await editor.status()).state == "paused"
    changed(editor, {"palimpsest": {"enable": True}})
    assert (await editor.status()).state == "ready"
    assert editor.client.messages == []


async def test_a_change_without_the_section_is_asked_for(connect):
    editor = await connect()
    editor.client.set_configuration({"palimpsest": {"enable": False}})
    changed(editor, None)
    await editor.until(lambda: editor.statuses and editor.statuses[-1].state == "paused")


async def test_what_is_wrong_in_it_is_shown(connect):
    editor = await connect()
    changed(editor, {"palimpsest": {"enabled": False}})
    await editor.status()
    (message,) = editor.client.messages
    assert message.type == types.MessageType.Warning
    assert "palimpsest.enabled: no such setting" in message.message
