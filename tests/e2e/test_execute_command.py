"""`workspace/executeCommand` with `palimpsest.run` and `palimpsest.fillSelection`, to the applied edit."""

import asyncio

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from e2e.raw import URI, place, raw

NEVER = {"steps": 1000, "step_seconds": 60.0}
COMMAND = "palimpsest.fillSelection"
RUN = "palimpsest.run"


def params(editor, start, end, version=None, action=None, instruction=None, **more):
    edges = [{"line": edge[0], "character": edge[1]} for edge in (start, end)]
    argument = {"uri": editor.uri, "range": {"start": edges[0], "end": edges[1]}}
    argument |= {"version": version} if version is not None else {}
    argument |= {"action": action} if action is not None else {}
    argument |= {"instruction": instruction} if instruction is not None else {}
    return types.ExecuteCommandParams(RUN if action else COMMAND, [argument], **more)


async def execute(editor, *args, **kwargs):
    return await editor.client.workspace_execute_command_async(params(editor, *args, **kwargs))


async def test_the_smallest_edit_is_applied_for_its_version(connect):
    editor = await connect({"script": ["value = 2"]})
    editor.open("value = 1\n")
    result = await execute(editor, (0, 0), (0, 9), 1)
    assert (result["applied"], result["reason"], result["holes"], result["filled"]) == (True, None, 1, 1)
    (sent,) = editor.edits
    assert sent.label == "Palimpsest: fill the selection"
    assert sent.metadata == types.WorkspaceEditMetadata(is_refactoring=True)
    (change,) = sent.edit.document_changes
    assert change.text_document == types.OptionalVersionedTextDocumentIdentifier(editor.uri, 1)
    one = types.Range(types.Position(0, 8), types.Position(0, 9))
    assert list(change.edits) == [types.TextEdit(one, "2")]


HOLES = "# 🎻\r\ndef f(a):  # 🎻\r\n    pass\r\n\r\n\r\ndef g(b):\r\n    raise NotImplementedError  # 🎻\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_every_hole_of_a_file_is_filled_in_one_edit(connect, capabilities, encoding):
    workspace = types.WorkspaceClientCapabilities(
        apply_edit=True,
        workspace_edit=types.WorkspaceEditClientCapabilities(
            document_changes=True, change_annotation_support=types.ChangeAnnotationsSupportOptions()
        ),
    )
    editor = await connect({"script": ["return 1"]}, able=capabilities([encoding], workspace=workspace))
    editor.open(HOLES)
    result = await execute(editor, (0, 0), (0, 0), action="fillHoles")
    assert (result["applied"], result["holes"], result["filled"]) == (True, 2, 2)
    (sent,) = editor.edits
    assert sent.label == "Palimpsest: fill every hole"
    (change,) = sent.edit.document_changes
    assert {type(edit) for edit in change.edits} == {types.AnnotatedTextEdit}
    (note,) = sent.edit.change_annotations.values()
    assert note.description == "written by a language model on this machine"
    first, second = change.edits
    assert (first.range, first.new_text) == (types.Range(types.Position(2, 4), types.Position(2, 8)), "return 1")
    assert second.range.start.line == 6


async def test_a_repair_that_mends_nothing_is_not_applied(connect):
    editor = await connect({"script": ["c = ((1"]})
    editor.open("c = 1 +\n")
    result = await execute(editor, (0, 0), (0, 0), action="repair")
    reason = "the repair did not mend the syntax"
    assert (result["applied"], result["reason"]) == (False, reason)
    assert editor.edits == []
    assert [each.message for each in editor.client.messages] == [f"Palimpsest: nothing was changed: {reason}"]
    assert await editor.reason() == reason


async def test_a_token_is_mended_without_the_model(connect):
    editor = await connect({"script": ["c = 3"]})
    editor.open("c = (1\n")
    assert (await execute(editor, (0, 0), (0, 0), action="repair"))["applied"]
    (edit,) = editor.edits[0].edit.document_changes[0].edits
    assert (edit.range.start, edit.range.end, edit.new_text) == (types.Position(0, 6), types.Position(0, 6), ")")


async def test_drafts_of_a_command_name_their_hole(connect):
    engine = {"script": ["return 1"], "steps": 3, "step_seconds": 0.15}
    editor = await connect(engine, settings={"drafts": True})
    editor.open("def f(a):\n    pass\n\n\ndef g(a):\n    pass\n")
    assert (await execute(editor, (0, 0), (0, 0), action="fillHoles"))["applied"]
    assert {draft.hole for draft in editor.drafts} == {0, 1}
    assert {draft.range.start.line for draft in editor.drafts if draft.hole == 1} == {5}
    assert not any(draft.final for draft in editor.drafts)


async def test_progress_is_shown_to_its_end(connect, tmp_path):
    editor = await connect({"kind": "held", "until": str(tmp_path / "go"), "script": ["2"]})
    editor.open("1")
    running = asyncio.create_task(execute(editor, (0, 0), (0, 1)))
    async with asyncio.timeout(30):
        while not any(editor.client.progress_reports.values()):
            await asyncio.sleep(0.01)
    (tmp_path / "go").touch()
    assert (await running)["applied"]
    ((_, reports),) = editor.client.progress_reports.items()
    assert isinstance(reports[0], types.WorkDoneProgressBegin)
    assert reports[0].cancellable is True
    assert isinstance(reports[-1], types.WorkDoneProgressEnd)
    percentages = [r.percentage for r in reports if isinstance(r, types.WorkDoneProgressReport)]
    assert percentages
    assert percentages == sorted(set(percentages))


async def test_the_client_s_own_token_is_used(connect):
    editor = await connect({"script": ["2"]})
    editor.open("1")
    editor.client.progress_reports["mine"] = []
    await execute(editor, (0, 0), (0, 1), work_done_token="mine")
    assert list(editor.client.progress_reports) == ["mine"]
    assert len(editor.client.progress_reports["mine"]) == 2


async def test_cancelling_in_the_progress_ends_it(connect):
    editor = await connect(NEVER)
    editor.open("1")
    editor.client.progress_reports["mine"] = []
    running = asyncio.create_task(execute(editor, (0, 0), (0, 1), work_done_token="mine"))
    await editor.until(lambda: editor.statuses and editor.statuses[-1].state == "busy")
    editor.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams("mine"))
    result = await asyncio.wait_for(running, 30)
    assert (result["applied"], result["reason"]) == (False, "cancelled")
    assert isinstance(editor.client.progress_reports["mine"][-1], types.WorkDoneProgressEnd)
    assert editor.edits == []
    assert editor.client.messages == []


async def test_a_document_that_moved_on_is_left_alone(connect):
    editor = await connect(NEVER)
    editor.open("1\n")
    running = asyncio.create_task(execute(editor, (0, 0), (0, 1)))
    await editor.until(lambda: editor.statuses and editor.statuses[-1].state == "busy")
    editor.type(1, 0, "x")
    result = await asyncio.wait_for(running, 30)
    assert (result["applied"], result["reason"]) == (False, "the document changed")
    assert editor.edits == []
    assert await editor.reason() == "the document changed"


async def test_a_client_that_refuses_the_edit_is_heard(connect):
    editor = await connect({"script": ["2"]})
    editor.open("1")
    editor.version = 5  # the client has moved on, the server does not know yet
    result = await execute(editor, (0, 0), (0, 1))
    assert (result["applied"], result["reason"]) == (False, "another version")
    assert (await editor.status()).lastEmpty.request == COMMAND
    assert "another version" in editor.client.messages[0].message


@pytest.mark.parametrize("answer", [None, {}, 3, "yes"])
def test_a_client_that_does_not_say_whether_it_applied_the_edit(answer):
    with raw({"script": ["2"]}, {"workspace/applyEdit": answer}) as client:
        client.initialize()
        client.open("1")
        where = {"start": place(0, 0), "end": place(0, 1)}
        params = {"command": COMMAND, "arguments": [{"uri": URI, "range": where}]}
        result = client.ask("workspace/executeCommand", params)["result"]
        assert (result["applied"], result["reason"]) == (False, "the client did not say whether it applied the edit")
        assert client.status()["lastEmpty"]["reason"] == result["reason"]
        assert client.end() == 0


async def test_an_action_for_an_older_version_is_not_begun(connect):
    editor = await connect({"script": ["2"]})
    editor.open("1")
    editor.type(0, 1, "0")
    assert (await execute(editor, (0, 0), (0, 1), 1))["reason"] == "the document changed"
    assert editor.edits == []


async def test_arguments_that_make_no_sense_are_an_error(connect):
    editor = await connect()
    for command in (COMMAND, RUN):
        for arguments in (None, [], [1], [{"action": "fill"}], [{"action": "explode"}, {}]):
            with pytest.raises(JsonRpcException, match="expects one argument") as caught:
                await editor.client.workspace_execute_command_async(types.ExecuteCommandParams(command, arguments))
            assert caught.value.code == -32602


async def test_a_client_without_progress_is_served(connect, capabilities):
    editor = await connect({"script": ["2"]}, able=capabilities(window=None))
    editor.open("1")
    assert (await execute(editor, (0, 0), (0, 1)))["applied"]


async def test_an_automatic_suggestion_does_not_end_a_fill(connect, tmp_path):
    editor = await connect({"kind": "held", "until": str(tmp_path / "go"), "script": ["2"]})
    editor.open("1\n")
    running = asyncio.create_task(execute(editor, (0, 0), (0, 1)))
    await editor.until(lambda: editor.statuses and editor.statuses[-1].state == "busy")
    assert await editor.ask(1, 0, automatic=True) is None
    (tmp_path / "go").touch()
    assert (await running)["applied"] is True


async def test_lines_are_rewritten_as_the_user_says(connect):
    editor = await connect({"kind": "saying"})
    editor.open("a = 1\r\n  b = 2\r\nc = 3\r\n")
    result = await execute(editor, (1, 3), (1, 5), 1, action="instruct", instruction="rename b")
    assert (result["applied"], result["reason"], result["holes"]) == (True, None, 1)
    (sent,) = editor.edits
    assert sent.label == "Palimpsest: rewrite as you say"
    (change,) = sent.edit.document_changes
    assert "".join(edit.new_text for edit in change.edits) == "# rename b: "


@pytest.mark.parametrize("instruction", ["", " ", 3])
async def test_an_instruction_that_is_none_is_refused(connect, instruction):
    editor = await connect({"script": ["x"]})
    editor.open("a = 1\n")
    with pytest.raises(JsonRpcException, match="instruction is a sentence"):
        await execute(editor, (0, 0), (0, 5), action="instruct", instruction=instruction)


async def test_lines_without_code_are_not_rewritten(connect):
    editor = await connect({"script": ["x"]})
    editor.open("a = 1\n\n")
    result = await execute(editor, (1, 0), (1, 0), action="instruct", instruction="write something")
    assert result["reason"] == "there is no code on these lines"


async def test_a_conversation_about_an_answer(connect):
    """The client answers before it says that the text has changed, as some do."""
    editor = await connect({"kind": "saying"})
    editor.open("a = 1\nb = 2\n")

    async def run(action, **more):
        result = await execute(editor, (1, 0), (1, 5), action=action, **more)
        for edit in editor.edits[-1].edit.document_changes[0].edits:
            editor.change(types.TextDocumentContentChangePartial(edit.range, edit.new_text))
        return editor.edits[-1].edit.document_changes[0].edits[0].new_text, result["conversation"]

    assert await run("instruct", instruction="say") == ("# say: ", {"version": 1, "versions": 1})
    assert await run("followUp", instruction="more") == ("rewrite 1: # ", {"version": 2, "versions": 2})
    assert await run("earlier") == ("", {"version": 1, "versions": 2})
    assert await run("later") == ("rewrite 1: # ", {"version": 2, "versions": 2})


async def test_an_explanation_is_shown_to_a_client_that_would_not(connect):
    editor = await connect({"kind": "saying"})
    editor.open("a = 1\n")
    result = await execute(editor, (0, 0), (0, 5), action="explain")
    assert (result["applied"], result["reason"], result["explanation"]) == (False, None, "# explain 0: a = 1\n")
    assert [(each.type, each.message) for each in editor.client.messages] == [
        (types.MessageType.Info, "# explain 0: a = 1\n")
    ]
    assert editor.edits == []
