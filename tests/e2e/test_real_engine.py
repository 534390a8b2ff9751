"""The command that users start, with the checkpoint that comes with it; fails, not skips, without one."""

import asyncio
import shutil
import sys

import pytest
from lsprotocol import types

from e2e.raw import raw
from palimpsest_engine.checkpoint.locate import EMBEDDED

COMMAND = [sys.executable, "-m", "palimpsest_server", "serve"]
TEXT = "def add(a, b):\n    \n\n\nprint(add(1, 2))\n"
PATIENCE = 300


@pytest.fixture
async def editor(connect):
    editor = await connect(command=COMMAND, settings={"device": "cpu", "drafts": True})
    editor.open(TEXT)
    return editor


async def test_a_hole_is_filled_and_an_empty_answer_has_a_reason(editor):
    text = await asyncio.wait_for(editor.ask(1, 4), PATIENCE)
    status = await editor.status()
    assert status.state in ("ready", "busy"), status.reason
    assert status.model
    assert status.device.startswith("cpu")
    assert bool(text) != bool(await editor.reason())
    assert text is None or isinstance(text, str)


async def test_the_same_question_has_the_same_answer(editor, connect):
    first = await asyncio.wait_for(editor.ask(1, 4), PATIENCE)
    other = await connect(command=COMMAND, settings={"device": "cpu"})
    other.open(TEXT)
    assert await asyncio.wait_for(other.ask(1, 4), PATIENCE) == first


async def test_an_automatic_request_is_answered_while_the_checkpoint_is_loading(editor):
    assert await editor.ask(1, 4, automatic=True) is None
    assert await editor.reason() in ("the checkpoint is still loading", "still denoising")
    await editor.until(lambda: editor.drafts and editor.drafts[-1].final, PATIENCE)
    assert editor.drafts[-1].version == 1


async def test_filling_the_selection_changes_the_selection_alone(editor):
    edges = {"start": {"line": 4, "character": 10}, "end": {"line": 4, "character": 14}}
    command = types.ExecuteCommandParams("palimpsest.fillSelection", [{"uri": editor.uri, "range": edges}])
    result = await asyncio.wait_for(editor.client.workspace_execute_command_async(command), PATIENCE)
    assert result["applied"] is bool(editor.edits)
    assert bool(result["reason"]) is not bool(editor.edits)
    for sent in editor.edits:
        (change,) = sent.edit.document_changes
        for edit in change.edits:
            assert (edit.range.start.line, edit.range.end.line) == (4, 4)
            assert 10 <= edit.range.start.character <= edit.range.end.character <= 14


async def test_the_process_ends_cleanly_while_the_checkpoint_is_loading(editor):
    asked = asyncio.create_task(editor.ask(1, 4))
    await editor.until(lambda: editor.statuses and editor.statuses[-1].state == "loading", PATIENCE)
    await asyncio.wait_for(editor.client.shutdown_session(), PATIENCE)
    assert editor.client._server.returncode == 0
    assert await asked is None


async def test_the_process_ends_cleanly_in_the_middle_of_a_fill(editor):
    asked = asyncio.create_task(editor.ask(1, 4))
    await editor.until(lambda: editor.drafts, PATIENCE)
    await asyncio.wait_for(editor.client.shutdown_session(), PATIENCE)
    assert editor.client._server.returncode == 0
    await asked  # answered all the same; with a text if the fill was that quick


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "google/diffusiongemma-26B-A4B-it"}, "no model of the id google/diffusiongemma-26B-A4B-it"),
        ({"model": "./google/diffusiongemma-26B-A4B-it"}, "depends on the folder in which the server happens to run"),
        ({"adapter": "google/diffusiongemma-26B-A4B-it"}, "depends on the folder in which the server happens to run"),
    ],
)
def test_a_repository_in_which_the_server_runs_chooses_nothing(tmp_path, settings, said):
    shutil.copytree(EMBEDDED, tmp_path / "google" / "diffusiongemma-26B-A4B-it")
    with raw(command=COMMAND, cwd=tmp_path) as client:
        client.initialize(initializationOptions={"palimpsest": settings})
        client.open(TEXT)
        assert said in client.offered(1, 4)
        assert client.status()["state"] == "error"
        assert client.end() == 0


async def test_a_checkpoint_that_is_not_there_is_an_error_that_says_so(connect):
    editor = await connect(command=COMMAND, settings={"model": "/nowhere/at/all"})
    editor.open(TEXT)
    assert await asyncio.wait_for(editor.ask(1, 4), PATIENCE) is None
    assert "/nowhere/at/all" in await editor.reason()
    await editor.until(lambda: editor.statuses and editor.statuses[-1].state == "error")
    assert any("/nowhere/at/all" in message.message for message in editor.client.messages)
