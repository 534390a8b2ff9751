"""`textDocument/completion` and its resolve, for clients without inline completion."""

import pytest
from lsprotocol import types

BARE = types.ClientCapabilities()
PATIENT = {"answerWithinMs": 60_000}  # these tests are about the answer, not about its time


async def listed(editor, line, character):
    params = types.CompletionParams(types.TextDocumentIdentifier(editor.uri), types.Position(line, character))
    answer = await editor.client.text_document_completion_async(params)
    assert isinstance(answer, types.CompletionList | None)
    return answer


@pytest.mark.parametrize(
    ("setting", "inline", "offered"),
    [("auto", False, True), ("auto", True, False), ("on", True, True), ("off", False, False)],
)
async def test_the_completion_list_is_offered_to_clients_without_inline_completion(
    connect, capabilities, setting, inline, offered
):
    editor = await connect(settings={"completion": setting}, able=capabilities() if inline else BARE)
    provider = editor.initialized.capabilities.completion_provider
    assert (provider is not None) is offered
    assert not offered or provider.resolve_provider


async def test_one_item_behind_all_others_that_replaces_the_word_at_the_cursor(connect):
    editor = await connect({"script": ["urn value"]}, PATIENT, able=BARE)
    editor.open("def f(value):\n    ret")
    found = await listed(editor, 1, 7)
    assert found.is_incomplete
    (item,) = found.items
    assert (item.label, item.filter_text, item.preselect) == ("return value", "return value", None)
    assert item.sort_text > "zzzz"
    where = types.Range(types.Position(1, 4), types.Position(1, 7))
    assert item.text_edit == types.TextEdit(where, "return value")
    resolved = await editor.client.completion_item_resolve_async(item)
    assert resolved.detail == "written by scripted on this machine"
    assert "return value" in resolved.documentation.value
    assert essence(resolved) == essence(item)


def essence(item):
    return types.CompletionItem(item.label, text_edit=item.text_edit, sort_text=item.sort_text)


async def test_nothing_to_offer_is_an_empty_list_that_may_be_asked_for_again(connect):
    editor = await connect({"script": [""]}, PATIENT, able=BARE)
    editor.open("x = ")
    found = await listed(editor, 0, 4)
    assert (found.is_incomplete, list(found.items)) == (True, [])
    assert await editor.reason() == "the script has nothing here"


async def test_a_completion_list_never_waits_for_the_model(connect):
    editor = await connect({"steps": 1000, "step_seconds": 60.0}, {"answerWithinMs": 0}, able=BARE)
    editor.open("x = ")
    assert not (await listed(editor, 0, 4)).items
    assert await editor.reason() == "still denoising"


@pytest.mark.parametrize(("encoding", "character"), [("utf-8", 11), ("utf-16", 9), ("utf-32", 8)])
async def test_positions_behind_an_emoji(connect, encoding, character):
    able = types.ClientCapabilities(general=types.GeneralClientCapabilities(position_encodings=[encoding]))
    editor = await connect({"script": ["t()"]}, PATIENT, able=able)
    editor.open('"😀" + ge\n')
    (item,) = (await listed(editor, 0, character)).items
    where = types.Range(types.Position(0, character - 2), types.Position(0, character))
    assert item.text_edit == types.TextEdit(where, "get()")


async def test_a_fence_in_the_text_does_not_end_the_preview(connect):
    editor = await connect({"script": ["```python"]}, PATIENT, able=BARE)
    editor.open("")
    (item,) = (await listed(editor, 0, 0)).items
    resolved = await editor.client.completion_item_resolve_async(item)
    assert resolved.documentation.value.startswith("````\n```python\n````")
