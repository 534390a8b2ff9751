"""`$/cancelRequest` gets an answer, and reaches the sampler."""

import asyncio

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

NEVER = {"steps": 1000, "step_seconds": 60.0}


def cancel(editor, msg_id):
    editor.client.protocol.notify(types.CANCEL_REQUEST, types.CancelParams(msg_id))


async def busy(editor):
    await editor.until(lambda: editor.statuses and editor.statuses[-1].state == "busy")


async def ready_again(editor):
    """Wait until nothing runs in the scripted engine: the cancelled job has really ended."""
    await editor.until(lambda: editor.statuses[-1].state == "ready")


async def test_an_inline_completion(connect):
    editor = await connect(NEVER)
    editor.open("")
    answer = editor.client.protocol.send_request_async(
        types.TEXT_DOCUMENT_INLINE_COMPLETION, editor.asked(0, 0), msg_id="mine"
    )
    answer = asyncio.ensure_future(answer)
    await busy(editor)
    cancel(editor, "mine")
    with pytest.raises(JsonRpcException) as caught:
        await asyncio.wait_for(answer, 30)
    assert caught.value.code == -32800
    await ready_again(editor)


async def test_a_command(connect):
    editor = await connect(NEVER)
    editor.open("1")
    edges = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
    command = types.ExecuteCommandParams("palimpsest.fillSelection", [{"uri": editor.uri, "range": edges}])
    answer = asyncio.ensure_future(
        editor.client.protocol.send_request_async(types.WORKSPACE_EXECUTE_COMMAND, command, msg_id="mine")
    )
    await busy(editor)
    cancel(editor, "mine")
    with pytest.raises(JsonRpcException) as caught:
        await asyncio.wait_for(answer, 30)
    assert caught.value.code == -32800
    await ready_again(editor)
    assert await editor.reason() == "cancelled"
    assert editor.edits == []


async def test_a_request_that_nobody_made_is_no_trouble(connect):
    editor = await connect({"script": ["x"]})
    cancel(editor, "nobody")
    editor.open("")
    assert await editor.ask(0, 0) == "x"
