"""`textDocument/inlineCompletion` from a real client to a real process."""

import asyncio

import pytest
from lsprotocol import types

NEVER = {"steps": 1000, "step_seconds": 60.0}
SLOW = {"steps": 3, "step_seconds": 0.2}


@pytest.mark.parametrize(("encoding", "character"), [("utf-8", 9), ("utf-16", 7), ("utf-32", 6)])
async def test_a_suggestion_is_for_the_cursor_in_every_encoding(connect, capabilities, encoding, character):
    editor = await connect({"script": ["1"]}, able=capabilities([encoding]))
    editor.open('"😀" = \n')
    assert await editor.ask(0, character) == "1"


async def test_an_automatic_request_is_answered_while_denoising_goes_on(connect):
    editor = await connect({"script": ["first", "second"], **SLOW}, {"drafts": True, "answerWithinMs": 0})
    editor.open("")
    assert await editor.ask(0, 0, automatic=True) is None
    assert await editor.reason() == "still denoising"
    await editor.until(lambda: editor.drafts and editor.drafts[-1].final)
    last = editor.drafts[-1]
    assert (last.uri, last.version, last.text, last.settledShare) == (editor.uri, 1, "first", 1)
    assert (last.position.line, last.position.character) == (0, 0)
    assert [draft.final for draft in editor.drafts].count(True) == 1
    assert await editor.ask(0, 0, automatic=True) == "first"
    assert (await editor.status()).lastEmpty is None


async def test_without_opting_in_there_are_no_drafts(connect):
    editor = await connect({"script": ["x"], "steps": 3, "step_seconds": 0.01})
    editor.open("")
    assert await editor.ask(0, 0) == "x"
    await editor.status()
    assert editor.drafts == []


async def test_typing_along_a_suggestion_asks_the_model_once(connect):
    editor = await connect({"script": ["return 1", "another"]})
    editor.open("def f():\n    ")
    assert await editor.ask(1, 4) == "return 1"
    editor.type(1, 4, "ret")
    assert await editor.ask(1, 7, automatic=True) == "urn 1"
    editor.type(1, 7, "x")
    assert await editor.ask(1, 8) == "another"


async def test_the_latest_wins_even_if_the_client_cancels_nothing(connect):
    editor = await connect(NEVER)
    editor.open("\n\n\n")
    asks = [asyncio.create_task(editor.ask(line, 0)) for line in range(3)]
    assert await asyncio.wait_for(asyncio.gather(*asks[:2]), 30) == [None, None]
    assert await editor.reason() == "superseded"
    editor.type(0, 0, "x")
    assert await asyncio.wait_for(asks[2], 30) is None
    assert await editor.reason() == "the document changed"


async def test_a_document_that_is_not_open_has_a_reason(connect):
    editor = await connect()
    assert await editor.ask(0, 0) is None
    assert await editor.reason() == "the document is not open"


async def test_a_document_is_found_by_another_spelling_of_its_uri(connect):
    editor = await connect({"script": ["x"]})
    editor.open("", uri="file:///c%3A/project/%C3%A9.py")
    for spelling in ("file:///C:/project/é.py", "file:/c:/project/e%CC%81.py"):
        editor.uri = spelling
        assert await editor.ask(0, 0) == "x"
        assert (await editor.command("palimpsest.pause", {"scope": "document", "uri": spelling}))["paused"]
        assert await editor.ask(0, 0) is None
        await editor.command("palimpsest.pause", {"scope": "document", "uri": spelling})
    editor.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(editor.uri)))
    assert await editor.ask(0, 0) is None
    assert await editor.reason() == "the document is not open"


async def test_a_closed_document_is_forgotten(connect):
    editor = await connect()
    editor.open("")
    editor.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(editor.uri)))
    assert await editor.ask(0, 0) is None


async def test_a_document_that_is_closed_meanwhile_is_the_reason(connect):
    editor = await connect(NEVER)
    editor.open("")
    asked = asyncio.create_task(editor.ask(0, 0))
    await editor.until(lambda: editor.statuses and editor.statuses[-1].state == "busy")
    editor.client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(editor.uri)))
    assert await asked is None
    assert await editor.reason() == "the document was closed"


async def test_an_engine_error_is_a_reason_and_the_server_lives(connect):
    editor = await connect({"error": "it needs 52 GiB and 16 GiB are free"})
    editor.open("")
    for _ in range(2):
        assert await editor.ask(0, 0) is None
        assert await editor.reason() == "it needs 52 GiB and 16 GiB are free"


async def test_a_selected_completion_is_gone_on_from(connect):
    editor = await connect({"script": [".join(a)", "something else"]})
    editor.open("os.pa")
    asked = editor.asked(0, 5)
    over = types.Range(types.Position(0, 3), types.Position(0, 5))
    asked.context.selected_completion_info = types.SelectedCompletionInfo(over, "path")
    (item,) = await editor.client.text_document_inline_completion_async(asked)
    assert item.range == over
    assert item.insert_text == "path.join(a)"
    editor.type(0, 5, "th")  # it was for the text with the completion in it
    assert await editor.ask(0, 7) == ".join(a)"


async def test_a_position_beyond_the_document_is_its_end(connect):
    editor = await connect({"script": ["x"]})
    editor.open("a\nb")
    (item,) = await editor.client.text_document_inline_completion_async(editor.asked(900, 900))
    assert item.range == types.Range(types.Position(1, 1), types.Position(1, 1))
