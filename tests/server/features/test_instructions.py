"""Instructions as code actions: the ready-made ones, and those of this session."""

import pytest
from lsprotocol import types

from acting import URI, able, answer
from palimpsest_server.features.code_actions import instructions
from palimpsest_server.features.code_actions.catalog import SELECT
from palimpsest_server.protocol import methods, positions

TEXT = "«def f(a):\n    return a»\n"
OURS = [methods.INSTRUCT]
INVOKED, AUTOMATIC = types.CodeActionTriggerKind.Invoked, types.CodeActionTriggerKind.Automatic
PYTHON = ["add a docstring", "add types", "simplify", "handle errors", "translate the comments"]
LAST = ["write a test", "explain"]


@pytest.fixture
def taught(editor, engine):
    engine.instructs = True
    return editor


def ours(found):
    return [each for each in found if getattr(each, "kind", None) == methods.INSTRUCT]


def titles(found):
    return [each.title.removeprefix("Palimpsest: ") for each in ours(found)]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("python", [*PYTHON, *LAST]),
        ("typescript", ["add a documentation comment", *PYTHON[1:], *LAST]),
        ("go", ["add a documentation comment", *PYTHON[2:], *LAST]),
        ("zig", ["add a documentation comment", *PYTHON[2:], "explain"]),
    ],
)
async def test_each_language_has_the_instructions_that_make_sense_in_it(taught, language, expected):
    where = taught.open(TEXT, language=language)
    assert titles(await taught.offered(where)) == expected


async def test_an_action_runs_its_instruction_on_the_selection(taught, engine):
    where = taught.open(TEXT)
    found = ours(await taught.offered(where))
    assert {each.kind for each in found} == {"refactor.rewrite.palimpsest.instruct"}
    assert not any(each.is_preferred or each.disabled for each in found)
    assert found[0].command.command == "palimpsest.run"
    assert found[0].command.arguments == [
        {
            "action": "instruct",
            "instruction": "Add a docstring.",
            "uri": URI,
            "version": 1,
            "range": positions.as_json(where),
        }
    ]
    running = taught.run("instruct", where, instruction=found[0].command.arguments[0]["instruction"])
    request = await answer(engine, "def f(a):\n    '''F.'''\n    return a\n")
    assert request.instruction == "Add a docstring."
    assert (await running)["applied"]


@pytest.mark.parametrize(
    ("text", "only", "trigger", "offered"),
    [
        (TEXT, None, None, True),
        (TEXT, None, INVOKED, True),
        (TEXT, ["refactor"], INVOKED, True),
        (TEXT, OURS, INVOKED, True),
        (TEXT, ["quickfix"], INVOKED, False),
        (TEXT, ["source"], INVOKED, False),
        (TEXT, None, AUTOMATIC, False),
        (TEXT, ["refactor"], AUTOMATIC, False),
        ("a‸ = 1\n", None, INVOKED, False),
        ("a = 1\n«\n \n»", None, INVOKED, False),
    ],
)
async def test_only_a_user_who_has_asked_about_a_selection_gets_them(taught, text, only, trigger, offered):
    assert bool(titles(await taught.offered(taught.open(text), only, trigger))) is offered


@pytest.mark.parametrize(
    ("text", "only", "offered"), [(TEXT, None, True), (TEXT, ["refactor"], False), ("a‸ = 1\n", None, False)]
)
async def test_a_client_that_only_asks_automatically_gets_them_for_a_selection(taught, text, only, offered):
    taught.session.initialize({"palimpsest": {}, "client": {"onlyAutomatic": True}})
    assert bool(titles(await taught.offered(taught.open(text), only, AUTOMATIC))) is offered
    assert taught.client.warnings == []


@pytest.mark.parametrize(
    ("model", "edit_languages", "instructs", "offered"),
    [
        ("", None, False, True),
        ("small", None, False, False),
        ("small", None, True, True),
        ("small", (), False, True),
        ("small, edits: large", (), False, False),
        ("small, edits: large", (), True, True),
    ],
)
async def test_a_model_that_is_known_not_to_understand_is_told_nothing(
    editor, engine, model, edit_languages, instructs, offered
):
    engine.model, engine.edit_languages, engine.instructs = model, edit_languages, instructs
    assert bool(titles(await editor.offered(editor.open(TEXT)))) is offered


@pytest.mark.parametrize(
    ("instructs", "text", "reason"), [(False, TEXT, instructions.UNTAUGHT), (True, "a‸\n", SELECT)]
)
@pytest.mark.parametrize(("only", "shown"), [(OURS, True), (["refactor"], False), (None, False)])
async def test_a_client_that_names_them_sees_why_there_are_none(editor, engine, instructs, text, reason, only, shown):
    engine.instructs = instructs
    editor.client_capabilities = able(disabled=True)
    found = ours(await editor.offered(editor.open(text), only))
    assert {each.disabled.reason for each in found} == ({reason} if shown else set())
    assert not any(each.command for each in found)
    editor.client_capabilities = able()
    assert ours(await editor.offered(editor.open(text), only)) == []


async def test_a_client_without_literals_gets_commands_and_one_without_edits_nothing(taught):
    where = taught.open(TEXT)
    taught.client_capabilities = able(literals=False)
    assert "Palimpsest: simplify" in [each.title for each in await taught.offered(where)]
    for can in (able(edits=False), able(versions=False)):
        taught.client_capabilities = can
        assert ours(await taught.offered(where)) == []


async def test_the_last_instructions_of_the_session_come_first(taught, engine):
    where = taught.open(TEXT)
    for said in ("one", "Add a docstring.", "two  lines\nof " + "words " * 20, "one"):
        running = taught.run("instruct", where, instruction=said)
        await answer(engine, "", reason="not now")
        await running
    found = ours(await taught.offered(where))
    assert titles(found)[:3] == ["again “one”", "again “two lines of words words words words words word…”", PYTHON[0]]
    assert found[1].command.arguments[0]["instruction"] == "two  lines\nof " + "words " * 20


async def test_complaints_of_other_tools_go_along(taught):
    where = taught.open(TEXT)
    said = types.Diagnostic(where, "wrong", severity=types.DiagnosticSeverity.Hint)
    found = ours(await taught.offered(where, diagnostics=[said]))
    sent = {each.title: each.command.arguments[0].get("diagnostics") for each in found}
    assert sent["Palimpsest: simplify"] == [{"range": positions.as_json(where), "message": "wrong"}]
    assert sent["Palimpsest: write a test"] is None
