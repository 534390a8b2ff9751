"""The command that users start, with the checkpoint that comes with it, in its own process and in one that windows share.

Fails, not skips, without the checkpoint.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from lsprotocol import types

from e2e.raw import raw
from palimpsest_engine.checkpoint.locate import EMBEDDED

COMMAND = [sys.executable, "-m", "palimpsest_server", "serve"]
ENGINE = [sys.executable, "-m", "palimpsest_server", "engine"]
TEXT = "def add(a, b):\n    \n\n\nprint(add(1, 2))\n"
PATIENCE = 300
pytestmark = pytest.mark.timeout(2 * PATIENCE)  # a model is loaded twice, perhaps on a machine with other things to do


@pytest.fixture(params=["own", "shared"], autouse=True)
def sharing(request, monkeypatch):
    """Say whose engine is used; end the process that all windows share."""
    if request.param == "own":
        yield request.param
        return
    monkeypatch.delenv("PALIMPSEST_ENGINE")
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield request.param
        subprocess.run([*ENGINE, "--stop"], check=False)


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


async def test_two_windows_share_a_process_that_is_started_anew_when_it_is_killed(editor, connect, sharing):
    if sharing == "own":
        assert engine_process() is None
        return
    first = await asyncio.wait_for(editor.ask(1, 4), PATIENCE)
    other = await connect(command=COMMAND, settings={"device": "cpu"})
    other.open(TEXT)
    assert await asyncio.wait_for(other.ask(1, 4), PATIENCE) == first
    async with asyncio.timeout(PATIENCE):
        while (found := engine_process())["engines"][0]["status"]["state"] == "busy":
            await asyncio.sleep(0.1)  # with what comes after the suggestion, if that is accepted
    assert [(engine["windows"], engine["status"]["state"]) for engine in found["engines"]] == [(2, "ready")]
    os.kill(found["pid"], 9)
    async with asyncio.timeout(PATIENCE):
        while (anew := engine_process()) is None or anew["pid"] == found["pid"]:
            await asyncio.sleep(0.1)
        for window in (editor, other):
            window.type(4, 0, "\n")
            assert await window.ask(1, 4) == first


def engine_process():
    """Return the report of the process that windows share, or None."""
    # While it loads a model, a process may be too busy to answer in time.
    while not (told := subprocess.run([*ENGINE, "--status", "--json"], stdout=subprocess.PIPE, check=False).stdout):
        pass
    return json.loads(told)
