"""Instructions, follow-ups and the versions between which a user goes back and forward; explanations."""

import asyncio

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from acting import URI, able, answer, until
from palimpsest_engine import Draft, DraftPiece, Span, Turn
from palimpsest_server.documents.marks import Marks
from palimpsest_server.features.code_actions import converse
from palimpsest_server.features.code_actions.target import LONGEST_INSTRUCTION, target_of
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.methods import RUN
from palimpsest_server.session import jobs
from palimpsest_server.session.conversations import MOST_VERSIONS, Conversations, Version

TEXT = "import os\n\na = 1\nb = 2\n\nc = 3\n"
FIRST = "a = 1\n"


def at(line, character=0):
    return types.Range(types.Position(line, character), types.Position(line, character))


async def instructed(editor, engine, text="a = 10\n", instruction="tenfold", line=2, **more):
    running = editor.run("instruct", at(line), editor.version, instruction=instruction, **more)
    request = await answer(engine, text)
    return request, await running


async def followed(editor, engine, text, instruction="shorter", **more):
    running = editor.run("followUp", None, editor.version, instruction=instruction, **more)
    request = await answer(engine, text)
    return request, await running


async def step(editor, action):
    return await asyncio.wait_for(editor.run(action, None, editor.version), 10)


def insert(editor, line, character, text):
    editor.change(types.TextDocumentContentChangePartial(at(line, character), text))


async def test_an_answer_begins_a_conversation(editor, engine):
    editor.open(TEXT)
    request, result = await instructed(editor, engine)
    assert (request.instruction, request.task, request.turns, request.strength) == ("tenfold", "rewrite", (), 1.0)
    assert result == {
        "applied": True,
        "reason": None,
        "holes": 1,
        "filled": 1,
        "conversation": {"version": 1, "versions": 1},
    }
    assert editor.session.conversations.said == ("tenfold",)


@pytest.mark.parametrize(("denoises", "strength"), [(True, 0.6), (False, 1.0)])
async def test_a_follow_up_is_about_the_answer_and_knows_what_was_said(editor, engine, denoises, strength):
    engine.denoises = denoises
    editor.open(TEXT)
    await instructed(editor, engine)
    request, result = await followed(editor, engine, "a = 11\n")
    [hole] = request.holes
    assert request.text[hole.start : hole.end] == "a = 10\n"
    assert (request.instruction, request.turns) == ("shorter", (Turn("tenfold", "a = 10\n", FIRST),))
    assert request.strength == strength
    assert result["conversation"] == {"version": 2, "versions": 2}
    request, _ = await followed(editor, engine, "a = 12\n", "more")
    assert request.turns == (Turn("tenfold", "a = 10\n", FIRST), Turn("shorter", "a = 11\n", "a = 10\n"))
    assert editor.document.text == TEXT.replace(FIRST, "a = 12\n")


async def test_back_and_forward(editor, engine):
    editor.open(TEXT)
    await instructed(editor, engine)
    await followed(editor, engine, "x = 11  # much longer\n")
    shown = []
    for action in ("earlier", "earlier", "earlier", "later", "later", "later"):
        result = await step(editor, action)
        shown.append((editor.document.text[11:].split("\n")[0], result["reason"], result["conversation"]["version"]))
    assert shown == [
        ("a = 10", None, 1),
        ("a = 1", None, 0),
        ("a = 1", converse.OLDEST, 0),
        ("a = 10", None, 1),
        ("x = 11  # much longer", None, 2),
        ("x = 11  # much longer", converse.NEWEST, 2),
    ]
    assert len(engine.jobs) == 2
    assert [each.label for each in editor.applied[2:4]] == ["Palimpsest: version 1 of 2", "Palimpsest: as it was first"]


async def test_a_follow_up_to_an_earlier_version_takes_the_place_of_the_later_ones(editor, engine):
    editor.open(TEXT)
    await instructed(editor, engine)
    await followed(editor, engine, "a = 11\n")
    await step(editor, "earlier")
    request, result = await followed(editor, engine, "a = 12\n", "even")
    assert request.turns == (Turn("tenfold", "a = 10\n", FIRST),)
    assert result["conversation"] == {"version": 2, "versions": 2}
    await step(editor, "earlier")
    await step(editor, "later")
    assert editor.document.text == TEXT.replace(FIRST, "a = 12\n")


@pytest.mark.parametrize(
    ("line", "character", "text", "after"),
    [
        (0, 0, "# 🎻\n", "# 🎻\nimport os\n\na = 11\nb = 2\n\nc = 3\n"),
        (2, 0, "# before\n", "import os\n\n# before\na = 11\nb = 2\n\nc = 3\n"),
        (3, 0, "# behind\n", "import os\n\na = 11\n# behind\nb = 2\n\nc = 3\n"),
        (5, 0, "d = 4\n", "import os\n\na = 11\nb = 2\n\nd = 4\nc = 3\n"),
    ],
)
async def test_the_answer_is_followed_through_edits_around_it(editor, engine, line, character, text, after):
    editor.open(TEXT)
    await instructed(editor, engine)
    insert(editor, line, character, text)
    await followed(editor, engine, "a = 11\n")
    assert editor.document.text == after


async def test_a_follow_up_to_an_answer_that_was_edited_is_about_what_stands_there(editor, engine):
    editor.open(TEXT)
    await instructed(editor, engine)
    insert(editor, 2, 1, "b")
    request, result = await followed(editor, engine, "ab = 11\n")
    assert request.turns == (Turn("tenfold", "ab = 10\n", FIRST),)
    assert result["conversation"] == {"version": 2, "versions": 2}
    for action, text in [("earlier", "ab = 10\n"), ("earlier", FIRST), ("later", "ab = 10\n"), ("later", "ab = 11\n")]:
        assert (await step(editor, action))["applied"]
        assert editor.document.text == TEXT.replace(FIRST, text)


async def test_two_versions_that_are_the_same_by_then_are_no_trouble(editor, engine):
    editor.open(TEXT)
    running = editor.run("instruct", at(2), instruction="tenfold")
    await answer(engine, "a = 10\n", "a = 0xa\n")
    await running
    insert(editor, 2, 1, "b")
    await followed(editor, engine, "a = 0xa\n")
    await step(editor, "earlier")
    line = types.Range(types.Position(2, 0), types.Position(3, 0))
    editor.change(types.TextDocumentContentChangePartial(line, "a = 0xa\n"))
    result = await step(editor, "later")
    assert (result["reason"], result["conversation"]) == (None, {"version": 2, "versions": 2})
    assert editor.document.text == TEXT.replace(FIRST, "a = 0xa\n")


@pytest.mark.parametrize("action", ["followUp", "earlier", "later"])
async def test_an_answer_that_is_gone_is_left_alone_until_that_is_undone(editor, engine, action):
    editor.open(TEXT)
    await instructed(editor, engine)
    line = types.Range(types.Position(2, 0), types.Position(3, 0))
    editor.change(types.TextDocumentContentChangePartial(line, ""))
    more = {"instruction": "shorter"} if action == "followUp" else {}
    result = await editor.run(action, None, editor.version, **more)
    assert (result["applied"], result["reason"], result["conversation"]) == (False, converse.GONE, None)
    assert editor.client.warnings == [f"Palimpsest: nothing was changed: {converse.GONE}"]
    assert len(engine.jobs) == 1
    insert(editor, 2, 0, "a = 10\n")
    _, result = await followed(editor, engine, "a = 11\n")
    assert result["applied"]


async def test_the_editors_own_undo_is_a_step_back(editor, engine):
    editor.open(TEXT)
    await instructed(editor, engine)
    [edit] = editor.applied[0].edit.document_changes[0].edits
    assert edit.new_text == "0"
    zero = types.Range(edit.range.start, types.Position(2, edit.range.start.character + 1))
    editor.change(types.TextDocumentContentChangePartial(zero, ""))
    assert (await step(editor, "earlier"))["conversation"] == {"version": 0, "versions": 1}
    assert (await step(editor, "later"))["applied"]
    assert editor.document.text == TEXT.replace(FIRST, "a = 10\n")


async def test_an_alternative_of_an_answer_is_an_answer(editor, engine):
    editor.open(TEXT)
    running = editor.run("instruct", at(2), instruction="tenfold")
    await answer(engine, "a = 10\n", "a = 0xa\n")
    await running
    await editor.run("alternative", at(2), editor.version)
    request, _ = await followed(editor, engine, "a = 11\n")
    assert request.turns == (Turn("tenfold", "a = 0xa\n", FIRST),)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_line_ends_are_those_of_the_document(editor, engine, newline):
    editor.open(TEXT.replace("\n", newline))
    await instructed(editor, engine, "a = 10\na = 11\n")
    await followed(editor, engine, "a = 12\n")
    for action in ("earlier", "earlier", "later", "later"):
        assert (await step(editor, action))["applied"]
    assert editor.document.text == TEXT.replace(FIRST, "a = 12\n").replace("\n", newline)


async def test_there_is_nothing_to_go_on_from_at_first_nor_after_closing(editor, engine):
    editor.open(TEXT)
    assert (await step(editor, "earlier"))["reason"] == converse.NO_ANSWER
    await instructed(editor, engine)
    editor.session.forget(URI)
    editor.session.documents.close(URI)
    editor.open(TEXT)
    for action in ("earlier", "later"):
        assert (await step(editor, action))["reason"] == converse.NO_ANSWER


async def test_an_edit_that_the_user_refuses_begins_nothing(editor, engine):
    editor.obeys = False
    editor.open(TEXT)
    _, result = await instructed(editor, engine)
    assert (result["applied"], result["conversation"]) == (False, None)
    editor.obeys = True
    assert (await step(editor, "earlier"))["reason"] == converse.NO_ANSWER


async def test_a_refused_follow_up_leaves_the_conversation(editor, engine):
    editor.open(TEXT)
    await instructed(editor, engine)
    editor.obeys = False
    _, result = await followed(editor, engine, "a = 11\n")
    assert (result["applied"], result["conversation"]) == (False, {"version": 1, "versions": 1})
    editor.obeys = True
    request, _ = await followed(editor, engine, "a = 12\n")
    assert request.turns == (Turn("tenfold", "a = 10\n", FIRST),)


async def test_a_document_replaced_as_a_whole_ends_the_conversation(editor, engine):
    editor.open(TEXT)
    await instructed(editor, engine)
    editor.change(types.TextDocumentContentChangeWholeDocument(editor.document.text))
    assert (await step(editor, "earlier"))["reason"] == converse.GONE


async def test_the_latest_command_wins_and_cancelling_ends_it(editor, engine):
    editor.open(TEXT)
    await instructed(editor, engine)
    one = editor.run("followUp", None, editor.version, instruction="shorter")
    await until(lambda: len(engine.jobs) == 2)
    two = editor.run("followUp", None, editor.version, instruction="longer")
    await until(lambda: len(engine.jobs) == 3)
    assert (await one)["reason"] == jobs.SUPERSEDED
    editor.cancel()
    assert (await two)["reason"] == jobs.CANCELLED
    assert engine.jobs[1].cancelled.is_set()
    assert engine.jobs[2].cancelled.is_set()
    assert editor.document.text == TEXT.replace(FIRST, "a = 10\n")


async def test_a_step_back_ends_the_follow_up_under_way(editor, engine):
    editor.open(TEXT)
    await instructed(editor, engine)
    running = editor.run("followUp", None, editor.version, instruction="shorter")
    await until(lambda: len(engine.jobs) == 2)
    assert (await step(editor, "earlier"))["applied"]
    assert (await running)["reason"] == jobs.CHANGED
    assert editor.document.text == TEXT


async def test_versions_and_instructions_are_bounded():
    conversations = Conversations(Marks())
    conversation = conversations.about(URI, Span(0, 5), "first")
    for number in range(2 * MOST_VERSIONS):
        conversation.answered(conversation.at, Version(str(number), instruction=str(number)))
        conversations.say(str(number))
    assert len(conversation.versions) == MOST_VERSIONS
    assert [each.text for each in conversation.versions[:2]] == ["first", str(MOST_VERSIONS + 1)]
    assert conversation.versions[-1].text == str(2 * MOST_VERSIONS - 1)
    assert conversations.said == ("39", "38", "37", "36", "35")
    conversations.say("37")
    conversations.say("long" * 1000)
    assert conversations.said == ("37", "39", "38", "36", "35")


# What other tools say


def told(line, message):
    return {"range": positions.as_json(at(line)), "message": message}


async def test_complaints_of_other_tools_about_the_lines_go_along(editor, engine):
    where = editor.open("x = 0\n«a = 1\nb = 2»\n\nc = 3\n")
    said = [told(1, "one"), told(2, "two\n  lines " + "x" * 999), told(2, " "), told(4, "elsewhere"), told(1, "one")]
    running = editor.run("instruct", where, instruction="mend it", diagnostics=said)
    request = await answer(engine, "a = 10\nb = 20\n")
    await running
    assert request.diagnostics == ("line 1: one", "line 2: two lines " + "x" * 290)


@pytest.mark.parametrize("given", [{}, {"diagnostics": []}])
async def test_complaints_about_the_present_text_count_unless_the_client_says_otherwise(editor, engine, given):
    editor.open(TEXT)
    known = types.Diagnostic(at(2), "undefined")
    editor.session.surroundings.diagnosed(editor.document, (known,))
    request, _ = await instructed(editor, engine, **given)
    assert request.diagnostics == (() if given else ("line 1: undefined",))
    request, _ = await instructed(editor, engine, "a = 12\n")
    assert request.diagnostics == ()


@pytest.mark.parametrize("wrong", [3, ["x"], [{"message": "x"}], [{"range": positions.as_json(at(0)), "message": 3}]])
def test_diagnostics_that_are_none_are_refused(wrong):
    argument = {"action": "instruct", "uri": URI, "range": positions.as_json(at(0)), "instruction": "x"}
    with pytest.raises(JsonRpcInvalidParams, match="diagnostics is not a list"):
        target_of(RUN, argument | {"diagnostics": wrong})


@pytest.mark.parametrize(
    ("action", "instruction", "taken"),
    [
        ("followUp", "", False),
        ("followUp", "x", True),
        ("explain", "", True),
        ("explain", "x", True),
        ("explain", 3, False),
        ("earlier", "", True),
        ("later", "x", False),
        ("rewrite", "x", False),
    ],
)
def test_an_instruction_belongs_to_some_actions(action, instruction, taken):
    argument = {"action": action, "uri": URI, "range": positions.as_json(at(0)), "instruction": instruction}
    if taken:
        assert target_of(RUN, argument).instruction == instruction
        return
    with pytest.raises(JsonRpcInvalidParams, match="instruction is a sentence"):
        target_of(RUN, argument)


async def test_an_instruction_may_be_long_but_not_endless(editor, engine):
    editor.open(TEXT)
    result = await editor.run("instruct", at(2), instruction="x" * 100_000)
    assert result["reason"] == f"the instruction has 100,000 characters, and up to {LONGEST_INSTRUCTION:,} are taken"
    assert engine.jobs == []


# Explanations


@pytest.mark.parametrize("explains", [False, True])
async def test_an_explanation_edits_nothing_and_is_shown_once(editor, engine, explains):
    editor.session.initialize({"palimpsest": {}, "client": {"explains": explains}})
    editor.client_capabilities = able(edits=False)
    where = editor.open(TEXT)
    running = editor.run("explain", where)
    request = await answer(engine, "It imports `os`.\n\nThat is all.")
    assert (request.task, request.instruction, request.tidy) == ("explain", "Explain what this code does.", False)
    assert request.candidates == 1
    assert await running == {
        "applied": False,
        "reason": None,
        "holes": 1,
        "filled": 0,
        "explanation": "It imports `os`.\n\nThat is all.",
    }
    assert editor.told == ([] if explains else ["It imports `os`.\n\nThat is all."])
    assert editor.applied == []
    assert editor.client.warnings == []


async def test_an_explanation_can_be_asked_for_in_words_and_ends_with_a_change(editor, engine):
    editor.open(TEXT)
    running = editor.run("explain", at(2), instruction="Why one?")
    await until(lambda: engine.jobs)
    assert engine.jobs[0].request.instruction == "Why one?"
    engine.on_draft[-1](Draft(1, ((DraftPiece("Because", True),),), 0.5))
    insert(editor, 0, 0, "x")
    result = await running
    assert (result["applied"], result["reason"]) == (False, jobs.CHANGED)
    assert "explanation" not in result
    assert editor.client.warnings == [f"Palimpsest: {jobs.CHANGED}"]
    assert not [each for each in editor.client.notified if each[0] == "palimpsest/draft"]


async def test_the_reason_of_the_engine_is_the_reason(editor, engine):
    editor.open(TEXT)
    running = editor.run("explain", at(2))
    await answer(engine, "", reason="The model was not taught to follow instructions.")
    assert (await running)["reason"] == "The model was not taught to follow instructions."
