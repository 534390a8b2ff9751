"""`workspace/configuration` and `workspace/didChangeConfiguration`."""

import asyncio

from lsprotocol import types


def changed(editor, settings):
    editor.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings))


async def eventually(editor, reason):
    """Ask until the answer is empty for this reason, or is not empty: a configuration may come late."""
    while (await editor.ask(0, 0), await editor.reason()) != (None if reason else "x", reason):
        await asyncio.sleep(0.01)


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


async def test_problems_of_the_configuration_are_shown(connect):
    editor = await connect()
    changed(editor, {"palimpsest": {"enabled": False}})
    await editor.status()
    (message,) = editor.client.messages
    assert message.type == types.MessageType.Warning
    assert "palimpsest.enabled: no such setting" in message.message


async def test_each_folder_may_have_settings_of_its_own(connect, capabilities):
    editor = await connect({"script": ["x"]}, folders=["file:///project", "file:///other"])
    editor.client.set_configuration({"palimpsest": {"disabledLanguages": ["python"]}}, scope_uri="file:///other")
    changed(editor, None)
    for uri, reason in (
        ("file:///project/a.py", None),
        ("file:///other/a.py", "palimpsest.disabledLanguages has python"),
    ):
        editor.open("", uri=uri)
        await eventually(editor, reason)


async def test_a_folder_that_is_added_is_asked_about(connect):
    editor = await connect({"script": ["x"]}, folders=["file:///project"])
    editor.client.set_configuration({"palimpsest": {"disabledLanguages": ["python"]}}, scope_uri="file:///other")
    event = types.WorkspaceFoldersChangeEvent(added=[types.WorkspaceFolder("file:///other", "other")], removed=[])
    editor.client.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(event))
    editor.open("", uri="file:///other/a.py")
    await eventually(editor, "palimpsest.disabledLanguages has python")


async def test_a_client_with_dynamic_registration_is_asked_to_tell_of_changes(connect, capabilities):
    able = capabilities()
    able.workspace.did_change_configuration = types.DidChangeConfigurationClientCapabilities(dynamic_registration=True)
    editor = await connect(able=able)
    await editor.until(lambda: editor.registrations)
    (registration,) = editor.registrations
    assert registration.method == "workspace/didChangeConfiguration"
    assert registration.register_options == {"section": "palimpsest"}


async def test_a_workspace_does_not_choose_the_model_unless_it_is_trusted(connect):
    theirs = {"model": "/evil", "device": "cuda", "maxLines": 3}
    editor = await connect(configuration=theirs)
    await editor.until(lambda: editor.statuses)
    (message,) = editor.client.messages
    assert message.message.startswith("Palimpsest: palimpsest.model and palimpsest.device are ignored: a workspace may")
    trusting = await connect(settings={"trustWorkspace": True}, configuration=theirs)
    await trusting.until(lambda: trusting.statuses)
    assert trusting.client.messages == []


async def test_pausing_in_one_step(connect):
    editor = await connect({"script": ["x"]})
    editor.open("")
    for scope, words in (
        ("all", "paused"),
        ("language", "paused for python"),
        ("folder", "paused for the folder /project"),
        ("document", "paused for this document"),
    ):
        for paused in (True, False):
            told = await editor.command("palimpsest.pause", {"scope": scope, "uri": editor.uri})
            assert told["paused"] is paused
            assert await editor.ask(0, 0) == (None if paused else "x")
            assert await editor.reason() == (words if paused else None)
            editor.change(types.TextDocumentContentChangeWholeDocument(""))


async def test_a_pause_that_makes_no_sense_is_refused_with_a_sentence(connect):
    editor = await connect()
    for argument in ({"scope": "galaxy"}, {"scope": "language"}, 3):
        error = await editor.refused("palimpsest.pause", argument)
        assert error.startswith("palimpsest.pause")
