"""Code actions: the places and clients that they are offered to, their requests to the engine, and their edits."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from acting import URI, UTF16, able, answer, until
from palimpsest_engine import Draft, DraftPiece, Span
from palimpsest_server.documents import window
from palimpsest_server.documents.rope import Text
from palimpsest_server.features import drafts
from palimpsest_server.features.code_actions import (
    catalog,
    handlers,
    offer,
    repair,
    scene,
    workspace_edit,
)
from palimpsest_server.features.code_actions.catalog import ACTIONS, ALTERNATIVE
from palimpsest_server.features.code_actions.target import Target, target_of
from palimpsest_server.protocol import methods, positions
from palimpsest_server.protocol.methods import RUN
from palimpsest_server.session import jobs
from palimpsest_server.session.recent_fills import RecentFills

UTF8, UTF32 = (types.PositionEncodingKind(name) for name in ("utf-8", "utf-32"))

STUB = "def f(a):\n    pass\n"
TWO_STUBS = STUB + "\n\ndef g(b):\n    pass\n"


def ids(found):
    return [each.command.arguments[0]["action"] for each in found if each.command and each.kind != methods.ALTERNATIVE]


# Offers


@pytest.mark.parametrize(
    ("kind", "only", "through"),
    [
        ("refactor.rewrite.palimpsest.fill", None, True),
        ("refactor.rewrite.palimpsest.fill", [""], True),
        ("refactor.rewrite.palimpsest.fill", [types.CodeActionKind.Empty], True),
        ("refactor.rewrite.palimpsest.fill", [types.CodeActionKind.Refactor], True),
        ("refactor.rewrite.palimpsest.fill", [types.CodeActionKind.RefactorRewrite], True),
        ("refactor.rewrite.palimpsest.fill", ["refactor.rewrite.palimpsest"], True),
        ("refactor.rewrite.palimpsest.fill", ["refactor.rewrite.palimpsest.fill"], True),
        ("refactor.rewrite.palimpsest.fill", ["refactor.rewrite.palimpsest.fill.more"], False),
        ("refactor.rewrite.palimpsest.fill", ["refactor.re"], False),
        ("refactor.rewrite.palimpsest.fill", [types.CodeActionKind.QuickFix, types.CodeActionKind.Source], False),
        ("refactor.rewrite.palimpsest.fill", ["quickfix", "refactor"], True),
        ("refactor.rewrite.palimpsest.fill", [], False),
        ("quickfix.palimpsest", ["quickfix"], True),
        ("quickfix.palimpsest", ["refactor"], False),
        ("source.palimpsest.fillHoles", ["source"], True),
        ("source.palimpsest.fillHoles", [types.CodeActionKind.SourceFixAll], False),
        ("source.palimpsest.fillHoles", ["source.organizeImports"], False),
        (methods.ALTERNATIVE, ["refactor"], True),
    ],
)
def test_only_names_a_kind_or_one_above_it(kind, only, through):
    assert offer.wanted(kind, only) is through


def test_no_kind_is_one_that_editors_run_by_themselves():
    automatic = [types.CodeActionKind.SourceFixAll, types.CodeActionKind.SourceOrganizeImports]
    assert not any(offer.wanted(kind, [each]) for kind in methods.KINDS for each in automatic)


SELECTION = ["fill", "touchUp", "rework", "rewrite"]
REFACTOR, QUICKFIX, SOURCE = ["refactor"], ["quickfix"], ["source"]


@pytest.mark.parametrize(
    ("text", "only", "expected"),
    [
        ("a = «1»\n", None, SELECTION),
        ("a‸ = 1\n", None, []),
        ("a\n  ‸\nb", None, ["fill"]),
        ("‸", None, ["fill"]),
        ("a\n«  \n\n»b", None, ["fill"]),  # nothing but blanks: there is nothing to start from
        ("def f(a):\n    ret‸urn a\n", None, ["complete"]),
        ("def f(a):\n    return «a»\n", None, ["fill", "complete", "touchUp", "rework", "rewrite"]),
        ("def f(a):\n    return «a\n\nb = 1\n»", None, SELECTION),
        ("def f(a):\n    pass‸\n", None, ["complete", "fillHoles"]),
        ("def f(a):\n    pass‸\n", REFACTOR, ["complete"]),
        ("def f(a):\n    pass‸\n", SOURCE, ["fillHoles"]),
        ("def f(a):\n    pass‸\n", QUICKFIX, []),
        ("a = (1‸\n", None, ["repair"]),
        ("a = (1‸\n", QUICKFIX, ["repair"]),
        ("a = (1‸\n", REFACTOR, []),
        ("a = «1»\n", ["source.fixAll"], []),
        ("a = «1»\n", [], []),
    ],
)
async def test_each_action_is_offered_in_its_place(editor, text, only, expected):
    where = editor.open(text)
    assert sorted(ids(await editor.offered(where, only))) == sorted(expected)


async def test_in_an_unknown_language_only_the_selection_is_known(editor):
    where = editor.open("def f(a):\n    «pass»\n(", language="plaintext")
    assert ids(await editor.offered(where)) == SELECTION


@pytest.mark.parametrize(
    ("language", "what"),
    [
        ("rust", "rust"),
        ("Rust", "rust"),
        ("plaintext", "plaintext"),
        ("", "python by the name of its file"),
        ("python-base", "python, which the editor calls 'python-base'"),
    ],
)
async def test_a_model_of_other_languages_is_not_offered_and_answers_with_the_reason(editor, engine, language, what):
    engine.languages = ("go",)
    where = editor.open("«f(1)»;\n", language=language)
    assert ids(await editor.offered(where)) == []
    result = await editor.run("rewrite", where)
    assert result["reason"] == f"the checkpoint manual was trained on go only; this document is {what}"
    assert editor.client.warnings == [f"Palimpsest: nothing was changed: {result['reason']}"]
    assert (engine.jobs, editor.applied) == ([], [])


async def test_the_model_for_edits_decides_about_actions(editor, engine, monkeypatch):
    told = engine.status()
    monkeypatch.setattr(engine, "status", lambda: replace(told, languages=("go",), edit_languages=("python",)))
    where = editor.open("def f(a):\n    «pass»\n")
    assert "rewrite" in ids(await editor.offered(where))
    monkeypatch.setattr(engine, "status", lambda: replace(told, languages=("python",), edit_languages=("go",)))
    assert ids(await editor.offered(where)) == []
    assert "the checkpoint for edits was trained on go only" in (await editor.run("rewrite", where))["reason"]


async def test_the_parsers_mend_what_no_model_knows(editor, engine):
    engine.languages = ("go",)
    where = editor.open("a = (1‸\n")
    assert ids(await editor.offered(where)) == ["repair"]
    assert (await editor.run("repair", where))["applied"]
    assert (editor.document.text, engine.jobs) == ("a = (1)\n", [])


@pytest.mark.parametrize(
    ("text", "title"), [(STUB, "Palimpsest: fill 1 hole ("), (TWO_STUBS, "Palimpsest: fill 2 holes (")]
)
async def test_the_number_of_holes_is_in_the_title(editor, text, title):
    editor.client_capabilities = able()
    [found] = await editor.offered(editor.open(text), SOURCE)
    assert found.title.startswith(title)


async def test_each_title_says_what_the_action_does(editor):
    editor.client_capabilities = able()
    found = await editor.offered(editor.open("def f(a):\n    «pass»\n"))
    titles = [each.title for each in found]
    assert "Palimpsest: touch up (change about a third of the selection)" in titles
    assert titles == [ACTIONS[action].offered(1) for action in ids(found)]


AUTOMATIC = types.CodeActionTriggerKind.Automatic
SELECTION_IN_A_FUNCTION = [*SELECTION, "complete"]


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("def f(a):\n    «pass»\n", True),
        ("def f(a):\n    pa«»ss\n", True),
        ("def f(a):\n    «»pass\n", True),
        ("def f(a):\n    pass«»\n", True),
        ("def f(«a»):\n    pass\n", False),
        ("def f(a):\n    pass\n\n\nx = «1»\n", False),
    ],
)
async def test_a_lightbulb_offers_to_fill_the_holes_on_one_of_them(editor, text, offered):
    assert ("fillHoles" in ids(await editor.offered(editor.open(text), None, AUTOMATIC))) is offered


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\n\n\ndef f(a):\n    x = a\n    return x«»\n", []),
        ("x = 1«»\ny = 2\n", []),
        ("def f(a):\n    x = a\n    «»\n    return x\n", []),
        ("«»", []),
        ("def f(a):\n    pass«»\n", ["complete", "fillHoles"]),
        ("def f(a:«»\n    return a\n", ["repair"]),
        ("def f(a):\n    return «a»\n", SELECTION_IN_A_FUNCTION),
    ],
)
async def test_a_lightbulb_is_not_at_every_cursor(editor, text, expected):
    assert sorted(ids(await editor.offered(editor.open(text), None, AUTOMATIC))) == sorted(expected)


async def test_a_lightbulb_offers_and_a_save_gets_nothing(editor):
    where = editor.open("def f(a):\n    «pass»\n")
    assert "rewrite" in ids(await editor.offered(where, None, AUTOMATIC))
    for only in (SOURCE, ["source.fixAll"], ["source.palimpsest.fillHoles"], REFACTOR, QUICKFIX):
        assert await editor.offered(where, only, AUTOMATIC) == []


def diagnostic(where, severity=types.DiagnosticSeverity.Error):
    return types.Diagnostic(where, "no", severity=severity)


@pytest.mark.parametrize(
    ("severity", "offered"),
    [
        (types.DiagnosticSeverity.Error, True),
        (types.DiagnosticSeverity.Warning, True),
        (None, True),
        (types.DiagnosticSeverity.Information, False),
        (types.DiagnosticSeverity.Hint, False),
    ],
)
async def test_repair_is_offered_for_the_problems_of_other_tools(editor, severity, offered):
    where = editor.open("a = «b»\n")
    found = await editor.offered(where, QUICKFIX, diagnostics=[diagnostic(where, severity)])
    assert bool(found) is offered
    if found:
        assert found[0].command.arguments[0]["problems"] == [positions.as_json(where)]


async def test_only_the_first_of_very_many_problems_are_sent(editor):
    where = editor.open("a = «b»\n")
    found = await editor.offered(where, QUICKFIX, diagnostics=[diagnostic(where)] * 1000)
    assert len(found[0].command.arguments[0]["problems"]) == 100


async def test_nothing_is_offered_for_a_document_that_moved_on_meanwhile(editor):
    where = editor.open("def f(a):\n    «pass»\n")
    asked = asyncio.create_task(editor.offered(where))
    await asyncio.sleep(0)
    editor.change(types.TextDocumentContentChangeWholeDocument("other"))
    assert await asked == []


@pytest.mark.parametrize(
    ("can", "forms"),
    [
        (able(), types.CodeAction),
        (able(literals=False), types.Command),
        (able(edits=False), None),
        (able(versions=False), None),
        (types.ClientCapabilities(), None),
    ],
)
async def test_the_form_of_an_action_depends_on_the_client(editor, can, forms):
    where = editor.open("a = «1»\n")
    editor.client_capabilities = can
    found = await editor.offered(where)
    assert [type(each) for each in found] == ([forms] * len(SELECTION) if forms else [])
    for each in found if forms is types.Command else [each.command for each in found]:
        assert each.command == RUN
        assert target_of(RUN, *each.arguments).range == where


LLM = types.CodeActionTag.LlmGenerated


@pytest.mark.parametrize(("tags", "expected"), [((), None), ((LLM,), [LLM])])
async def test_the_tag_goes_to_clients_that_know_it(editor, tags, expected):
    where = editor.open("a = «1»\n")
    editor.client_capabilities = able(tags=tags)
    assert {str(each.tags) for each in await editor.offered(where)} == {str(expected)}


@pytest.mark.parametrize(
    ("disabled", "only", "reasons"),
    [
        (False, REFACTOR, []),
        (True, None, []),
        (True, [""], []),
        (True, ["refactor.rewrite.palimpsest.touchUp"], ["select some code first"]),
        (True, QUICKFIX, ["nothing here is known to be broken"]),
        (True, SOURCE, ["there are no holes in this file"]),
        (True, ["refactor.rewrite.palimpsest.complete"], ["the cursor is not in a function or class"]),
        (True, ["refactor.rewrite.palimpsest.fill"], ["select something first, or go to a blank line"]),
    ],
)
async def test_a_request_for_one_kind_shows_why_it_is_disabled(editor, disabled, only, reasons):
    where = editor.open("a = ‸1\n")
    editor.client_capabilities = able(disabled=disabled)
    found = await editor.offered(where, only)
    assert [each.disabled.reason for each in found] == reasons
    assert all(each.command is None for each in found)


@pytest.mark.parametrize("denoises", [True, False])
async def test_touching_up_is_offered_where_the_model_for_edits_can_keep_a_part_of_a_text(editor, engine, denoises):
    engine.denoises = denoises
    where = editor.open("a = «1»\n")
    keeping = {each.kind for each in ACTIONS.values() if each.strength < 1}
    assert {kind.rpartition(".")[2] for kind in keeping} == {"touchUp", "rework"}
    found = {each.kind for each in await editor.offered(where)}
    assert keeping & found == (keeping if denoises else set())
    assert ACTIONS["rewrite"].kind in found
    editor.client_capabilities = able(disabled=True)
    for kind in keeping:
        (shown,) = await editor.offered(where, [kind])
        assert (shown.disabled.reason if shown.disabled else "") == ("" if denoises else catalog.CANNOT)
        assert (shown.command is None) == (not denoises)


# Requests to the engine


@pytest.mark.parametrize(
    ("action", "text", "holes", "strength"),
    [
        ("fill", "a = «1 + »2\n", ["1 +"], 1.0),
        ("fill", "«    a = 1\n»b\n", ["a = 1"], 1.0),
        ("fill", "a\n  ‸\n", [""], 1.0),
        ("fill", "a«  »b\n", ["  "], 1.0),
        ("touchUp", "«a = 1»\n", ["a = 1"], 0.3),
        ("rework", "«a = 1»\n", ["a = 1"], 0.6),
        ("rewrite", "«a = 1»\n", ["a = 1"], 1.0),
        ("complete", "def f(a):\n    b = 1\n    ret‸urn a\n", ["b = 1\n    return a"], 1.0),
        ("complete", "def f(a):\n    b = 1\n    ‸\n    return a\n", ["\n    return a"], 1.0),
        ("complete", "def f(a):\n    b = 1\n    ‸\n", [""], 1.0),
        ("complete", "def f(a):\n    ‸\n    return a\n", ["return a"], 1.0),
        ("fillHoles", "‸" + TWO_STUBS, ["pass", "pass"], 1.0),
        ("repair", "a = 1\nb‸ = 1 +\n", ["b = 1 +"], 1.0),
    ],
)
async def test_every_action_makes_one_request(editor, engine, action, text, holes, strength):
    running = editor.run(action, editor.open(text))
    request = await answer(engine, tuple("x" for _ in holes))
    await running
    assert [request.text[hole.start : hole.end] for hole in request.holes] == holes
    assert (request.strength, request.text, request.document) == (strength, text.translate(GONE), URI)
    assert request.candidates == (editor.session.settings.candidates if len(holes) == 1 else 1)
    assert not request.speculative


GONE = dict.fromkeys(map(ord, "«»‸"))


def test_every_action_is_in_the_tests():
    (mark,) = (m for m in test_every_action_makes_one_request.pytestmark if m.name == "parametrize")
    assert {case[0] for case in mark.args[1]} == set(ACTIONS)


async def test_problems_of_other_tools_are_repaired_in_whole_words(editor, engine):
    editor.open("alpha = beta + gamma\n")
    line = types.Range(types.Position(0, 0), types.Position(0, 20))
    problems = [types.Range(types.Position(0, start), types.Position(0, end)) for start, end in ((9, 10), (16, 17))]
    running = editor.run("repair", line, problems=[positions.as_json(each) for each in problems])
    request = await answer(engine, ("x", "y"))
    assert [request.text[hole.start : hole.end] for hole in request.holes] == ["beta", "gamma"]
    assert (await running)["filled"] == 2
    assert editor.document.text == "alpha = x + y\n"


@pytest.mark.parametrize("encoding", [UTF8, UTF16, UTF32])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_only_the_holes_change_in_every_encoding(editor, engine, encoding, newline):
    text = "# 🎻é\ndef f(a):  # 🎻\n    pass\n\n\n"
    text += "def g(b):\n    x = '🎻'\n    return 1\n\n\ndef h():\n    pass  # 🎻\n"
    text = text.replace("\n", newline)
    running = editor.run("fillHoles", editor.open(text, encoding))
    request = await answer(engine, ("a = '🎻'\n    return a", "return 2"))
    assert request.text == text
    assert await running == {"applied": True, "reason": None, "holes": 2, "filled": 2}
    expected = text.replace("pass", f"a = '🎻'{newline}    return a", 1).replace("pass", "return 2", 1)
    assert editor.document.text == expected


@pytest.mark.parametrize("encoding", [UTF8, UTF16, UTF32])
async def test_the_smallest_edit_comes_out(editor, engine, encoding):
    where = editor.open("🎻 = «'🎻🎻 one'»\n", encoding)
    running = editor.run("rewrite", where)
    await answer(engine, "'🎻🎻 two'")
    assert (await running)["applied"]
    (sent,) = editor.applied
    (edit,) = sent.edit.document_changes[0].edits
    assert edit.new_text == "two"
    assert editor.document.text == "🎻 = '🎻🎻 two'\n"


@pytest.mark.parametrize("annotations", [False, True])
async def test_the_edit_names_its_author_if_the_client_shows_that(editor, engine, annotations):
    editor.client_capabilities = able(annotations=annotations)
    running = editor.run("fillHoles", editor.open(TWO_STUBS))
    await answer(engine, ("x", "y"))
    await running
    (sent,) = editor.applied
    (change,) = sent.edit.document_changes
    assert len(change.edits) == 2
    assert sent.label == "Palimpsest: fill every hole"
    if annotations:
        (name,) = {edit.annotation_id for edit in change.edits}
        note = sent.edit.change_annotations[name]
        assert note.description == "written by a language model on this machine"
        assert (note.label, note.needs_confirmation) == (sent.label, False)
        assert sent.metadata == types.WorkspaceEditMetadata(is_refactoring=True)
    else:
        assert all(type(edit) is types.TextEdit for edit in change.edits)
        assert (sent.edit.change_annotations, sent.metadata) == (None, None)


@pytest.mark.parametrize("text", ["pass", "", "  \n"])
async def test_a_hole_for_which_there_is_nothing_stays_and_is_not_counted(editor, engine, text):
    running = editor.run("fillHoles", editor.open(TWO_STUBS))
    await answer(engine, ("x", text))
    result = await running
    assert (result["holes"], result["filled"]) == (2, 1)
    assert editor.document.text == TWO_STUBS.replace("pass", "x", 1)


# Repair


@pytest.mark.parametrize(
    ("choices", "after"),
    [
        (["b = 1 + a"], "a = 1\nb = 1 + a\n"),
        (["b = (1 +"], None),
        (["c = 1 + a"], None),  # another name
        (["b = 1 + a; '''"], None),
        (["b = (1 +", "b = 1"], "a = 1\nb = 1\n"),  # the first that mends it
    ],
)
async def test_a_repair_has_to_mend_the_syntax(editor, engine, choices, after):
    running = editor.run("repair", editor.open("a = 1\nb‸ = 1 +\n"))
    await answer(engine, *choices)
    result = await running
    assert result["applied"] is (after is not None)
    assert result["reason"] == (None if after else "the repair did not mend the syntax")
    assert editor.document.text == (after or "a = 1\nb = 1 +\n")


async def test_a_repair_may_take_something_away(editor, engine):
    where = editor.open("«a = not not b»\n")
    problems = [types.Range(types.Position(0, start), types.Position(0, end)) for start, end in ((4, 7), (12, 13))]
    running = editor.run("repair", where, problems=[positions.as_json(each) for each in problems])
    await answer(engine, ("", "c"))
    assert (await running)["filled"] == 2
    assert editor.document.text == "a =  not c\n"


async def test_a_repair_of_valid_syntax_is_not_held_to_the_syntax(editor, engine):
    where = editor.open("a = «undefined»\n")
    running = editor.run("repair", where, problems=[positions.as_json(where)])
    await answer(engine, "2")
    assert (await running)["applied"]


# Repair by the parsers


@pytest.mark.parametrize("encoding", [UTF8, UTF16, UTF32])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_one_token_is_mended_without_the_model(editor, engine, encoding, newline):
    editor.client_capabilities = able(annotations=True)
    text = "a = '🎻'\nb‸ = f('🎻', 1\nc = 2\n".replace("\n", newline)
    result = await editor.run("repair", editor.open(text, encoding))
    assert result == {"applied": True, "reason": None, "holes": 1, "filled": 1}
    assert editor.document.text == text.replace("‸", "").replace("1", "1)")
    (sent,) = editor.applied
    (edit,) = sent.edit.document_changes[0].edits
    assert (edit.new_text, edit.range.start) == (")", edit.range.end)
    (note,) = sent.edit.change_annotations.values()
    assert note.description == "found by the parser of the language, without a language model"
    assert engine.jobs == []
    assert editor.session.requests.recent[-1].source == "parser"


@pytest.mark.parametrize("fault", ["", "there is no checkpoint"])
async def test_one_token_is_mended_without_an_engine(editor, fault):
    editor.session.engine.opened, editor.session.engine.fault = None, fault
    where = editor.open("def f(a):\n    b‸ = (1\n")
    assert ids(await editor.offered(where)) == ["repair"]
    assert (await editor.run("repair", where))["applied"]
    assert editor.document.text == "def f(a):\n    b = (1)\n"
    assert await editor.offered(where) == []


async def test_without_an_engine_the_complaints_of_others_are_no_offer(editor):
    editor.session.engine.opened, editor.session.engine.fault = None, "there is no checkpoint"
    where = editor.open("a = «b»\n")
    assert await editor.offered(where, QUICKFIX, diagnostics=[diagnostic(where)]) == []
    await nothing(editor, editor.run("repair", where), "there is no checkpoint")


async def test_no_job_ends_for_a_mend_that_is_not_found(editor, engine):
    editor.session.engine.opened, opened = None, editor.session.engine.opened
    await nothing(editor, editor.run("repair", editor.open("b‸ = 1 +\n")), "the server is starting")
    editor.session.engine.opened = opened


async def test_a_document_that_moves_on_while_a_mend_is_sought(editor, engine, monkeypatch):
    real = editor.session.surroundings.off_loop

    async def late(call, *args):
        found = await real(call, *args)
        if getattr(call, "__name__", "") == "mend":
            editor.change(types.TextDocumentContentChangeWholeDocument("other"))
        return found

    monkeypatch.setattr(editor.session.surroundings, "off_loop", late)
    await nothing(editor, editor.run("repair", editor.open("b‸ = (1\n")), jobs.CHANGED)
    assert editor.applied == []


async def test_a_mend_is_subject_to_the_objections_to_a_file(editor, engine, monkeypatch):
    async def objection(*args, **kwargs):
        return "git ignores it"

    monkeypatch.setattr(editor.session.surroundings, "objection", objection)
    await nothing(editor, editor.run("repair", editor.open("b‸ = (1\n")), "git ignores it")


async def test_a_client_that_refuses_the_mend(editor, engine):
    editor.obeys = False
    await nothing(editor, editor.run("repair", editor.open("b‸ = (1\n")), "the client did not apply the edit")
    assert engine.jobs == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("markdown", "# ti‸tle"),
        ("jsonc", '{"a": [1,‸], // one\n}\n'),
        ("python", "class A[T‸ = int]:\n    pass\n"),
    ],
)
async def test_nothing_is_repaired_where_the_grammar_alone_complains(editor, engine, language, text):
    where = editor.open(text, language=language)
    assert await editor.offered(where, QUICKFIX) == []
    await nothing(editor, editor.run("repair", where), ACTIONS["repair"].missing)
    assert engine.jobs == []


@pytest.mark.parametrize(("language", "text"), [("markdown", "# «title»"), ("jsonc", '{"a": [1«,»]}\n')])
async def test_the_complaints_of_others_are_no_offer_there_either(editor, engine, language, text):
    where = editor.open(text, language=language)
    assert await editor.offered(where, QUICKFIX, diagnostics=[diagnostic(where)]) == []
    running = editor.run("repair", where, problems=[positions.as_json(where)])
    await nothing(editor, running, ACTIONS["repair"].missing)


@pytest.mark.parametrize(
    "text", ["%matplotlib inline\n", "!pip install a", "%%bash\nls (\n", "os.path?", "files = !ls\n"]
)
async def test_lines_for_ipython_are_not_repaired_in_a_notebook(editor, engine, text):
    editor.open("")
    item = types.TextDocumentItem(URI, "python", 1, text)
    cell = types.NotebookCell(types.NotebookCellKind.Code, URI)
    notebook = types.NotebookDocument("untitled:n", "jupyter-notebook", 1, [cell])
    editor.session.documents.open_notebook(types.DidOpenNotebookDocumentParams(notebook, [item]))
    where = types.Range(types.Position(0, 0), types.Position(0, 4))
    assert await editor.offered(where, QUICKFIX) == []
    assert await editor.offered(where, QUICKFIX, diagnostics=[diagnostic(where)]) == []
    await nothing(editor, editor.run("repair", where), ACTIONS["repair"].missing)
    assert engine.jobs == []


# Nothing comes of it


async def nothing(editor, running, reason, warned=True):
    result = await asyncio.wait_for(running, 10)
    assert (result["applied"], result["reason"]) == (False, reason)
    said = [f"Palimpsest: nothing was changed: {reason}"] if warned else []
    assert editor.client.warnings == said
    assert editor.session.board.status()["lastEmpty"] == {"request": RUN, "reason": reason}


async def test_a_document_that_moves_on_is_left_alone(editor, engine):
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await until(lambda: engine.jobs)
    editor.change(types.TextDocumentContentChangeWholeDocument("other"))
    await nothing(editor, running, jobs.CHANGED)
    assert engine.jobs[0].cancelled.is_set()
    assert editor.applied == []


async def test_a_document_that_moves_on_before_the_engine_is_asked(editor, engine):
    running = editor.run("fillHoles", editor.open(TWO_STUBS))
    await asyncio.sleep(0)
    editor.change(types.TextDocumentContentChangeWholeDocument("other"))
    await nothing(editor, running, jobs.CHANGED)
    assert engine.jobs == []


async def test_a_document_that_moves_on_just_when_the_engine_is_done(editor, engine):
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await until(lambda: engine.jobs)
    other = types.TextDocumentContentChangeWholeDocument("other")
    editor.session.jobs.running(URI).outcome.add_done_callback(lambda _: editor.change(other))
    await answer(engine, "2")
    await nothing(editor, running, jobs.CHANGED)
    assert editor.applied == []


async def test_a_document_that_moves_on_while_the_repair_is_checked(editor, engine, monkeypatch):
    real = editor.session.surroundings.off_loop

    async def late(call, *args):
        if call is repair.mending:
            editor.change(types.TextDocumentContentChangeWholeDocument("other"))
        return await real(call, *args)

    monkeypatch.setattr(editor.session.surroundings, "off_loop", late)
    running = editor.run("repair", editor.open("b‸ = 1 +\n"))
    await answer(engine, "b = 1")
    await nothing(editor, running, jobs.CHANGED)
    assert editor.applied == []


async def test_cancelling_in_the_progress_is_no_news_to_the_user(editor, engine):
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await until(lambda: engine.jobs)
    editor.cancel()
    await nothing(editor, running, jobs.CANCELLED, warned=False)
    assert engine.jobs[0].cancelled.is_set()


async def test_cancelling_the_request_stops_the_engine(editor, engine):
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await until(lambda: engine.jobs)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert engine.jobs[0].cancelled.is_set()
    assert editor.client.warnings == []


@pytest.mark.parametrize(
    ("action", "text", "reason"),
    [
        ("fill", "a ‸= 1", ACTIONS["fill"].missing),
        ("rewrite", "a ‸= 1", ACTIONS["rewrite"].missing),
        ("complete", "a ‸= 1", ACTIONS["complete"].missing),
        ("repair", "a ‸= 1", ACTIONS["repair"].missing),
        ("fillHoles", "a ‸= 1", ACTIONS["fillHoles"].missing),
    ],
)
async def test_an_action_with_nothing_to_do_tells_the_user(editor, engine, action, text, reason):
    await nothing(editor, editor.run(action, editor.open(text)), reason)
    assert engine.jobs == []


async def test_a_command_for_an_older_version_is_not_begun(editor, engine):
    await nothing(editor, editor.run("rewrite", editor.open("a = «1»\n"), version=0), jobs.CHANGED)
    assert engine.jobs == []


async def test_without_a_version_the_present_one_is_meant(editor, engine):
    running = editor.run("rewrite", editor.open("a = «1»\n"), version=None)
    await answer(engine, "2")
    assert (await running)["applied"]


async def test_the_reason_of_the_engine_is_the_reason(editor, engine):
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await answer(engine, "", reason="the gate rejected it")
    await nothing(editor, running, "the gate rejected it")


async def test_a_fill_that_is_there_already_is_no_edit(editor, engine):
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await answer(engine, "1")
    await nothing(editor, running, "the fill is what is there already")


async def test_a_client_that_does_not_apply_the_edit_is_heard(editor, engine):
    editor.obeys = False
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await answer(engine, "2")
    await nothing(editor, running, "the client did not apply the edit")


async def test_a_refusal_by_the_user_is_no_warning(editor, engine, monkeypatch):
    async def refuse(params):
        return types.ApplyWorkspaceEditResult(applied=False, failure_reason="cancelled")

    monkeypatch.setattr(editor, "workspace_apply_edit_async", refuse)
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await answer(engine, "2")
    result = await running
    assert (result["applied"], result["reason"]) == (False, "cancelled")
    assert editor.client.warnings == []


async def test_a_client_that_never_says_whether_it_did_is_not_waited_for(editor, engine, monkeypatch):
    monkeypatch.setattr(workspace_edit, "_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(editor, "workspace_apply_edit_async", lambda params: asyncio.get_running_loop().create_future())
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await answer(engine, "2")
    result = await running
    assert (result["applied"], result["reason"]) == (False, "the client did not say whether it applied the edit")
    assert editor.client.warnings == [f"Palimpsest: {result['reason']}"]


async def test_a_document_that_is_closed_meanwhile_is_left_alone(editor, engine):
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await asyncio.sleep(0)
    editor.session.forget(URI)
    editor.session.documents.close(URI)
    await nothing(editor, running, "the document was closed")


async def test_a_client_that_cannot_take_edits_is_told(editor, engine):
    editor.client_capabilities = able(edits=False)
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    await answer(engine, "2")
    await nothing(editor, running, "the client does not apply versioned edits")


async def test_a_document_that_is_not_open_has_a_reason(editor):
    where = editor.open("a = «1»\n")
    editor.session.documents.close(URI)
    await nothing(editor, editor.run("rewrite", where), "the document is not open")


# Large documents


LINE = "value = compute(1, 2, 3)\n"
LARGE = LINE * (2 * window.REACH // len(LINE) + 1000)


async def test_only_the_selection_of_a_large_document_is_looked_at(editor, engine):
    middle = len(LARGE) // len(LINE) // 2
    editor.open(LARGE)
    where = types.Range(types.Position(middle, 8), types.Position(middle, 24))
    editor.client_capabilities = able(disabled=True)
    assert ids(await editor.offered(where)) == SELECTION
    found = await editor.offered(where, SOURCE)
    assert [each.disabled.reason for each in found] == [catalog.TOO_LARGE]
    running = editor.run("rewrite", where)
    request = await answer(engine, "2")
    assert len(request.text) < len(LARGE)
    assert request.text[request.holes[0].start : request.holes[0].end] == "compute(1, 2, 3)"
    assert (await running)["applied"]
    lines = LARGE.splitlines(keepends=True)
    lines[middle] = "value = 2\n"
    assert editor.document.text == "".join(lines)


async def test_in_a_large_document_too_the_complaints_of_others_can_be_repaired(editor, engine):
    middle = len(LARGE) // len(LINE) // 2
    editor.open(LARGE)
    name = types.Range(types.Position(middle, 9), types.Position(middle, 10))
    (found,) = await editor.offered(name, QUICKFIX, diagnostics=[diagnostic(name)])
    running = editor.run("repair", name, problems=found.command.arguments[0]["problems"])
    request = await answer(engine, "sum")
    assert request.text[request.holes[0].start : request.holes[0].end] == "compute"
    assert (await running)["applied"]
    assert editor.document.text.count("sum(1, 2, 3)") == 1


async def test_too_much_of_a_large_document_is_refused(editor, engine):
    editor.open(LARGE)
    everything = editor.document.range_at(0, len(LARGE), UTF16)
    assert await editor.offered(everything) == []
    await nothing(editor, editor.run("rewrite", everything), catalog.TOO_FAR)
    assert engine.jobs == []


# Drafts


async def drafted(editor, engine, *texts, step=1):
    await until(lambda: engine.jobs)
    holes = tuple((DraftPiece(text, False),) for text in texts)
    engine.on_draft[-1](Draft(step, holes, 0.5))
    await asyncio.sleep(0.01)
    return [params for method, params in editor.client.notified if method == "palimpsest/draft"]


async def test_drafts_say_which_hole_they_are_of(editor, engine):
    running = editor.run("fillHoles", editor.open(TWO_STUBS))
    one, two = await drafted(editor, engine, "x", "y")
    assert (one["text"], one["hole"], two["text"], two["hole"]) == ("x", 0, "y", 1)
    assert one["range"] == {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 8}}
    assert one["position"] == one["range"]["start"]
    assert (one["uri"], one["version"], one["step"], one["settledShare"], one["final"]) == (URI, 1, 1, 0.5, False)
    await answer(engine, ("x", "y"))
    assert (await running)["applied"]
    assert not any(params.get("final") for _, params in editor.client.notified)  # the edit is the last word


async def test_a_hole_that_reads_as_before_is_not_shown_again(editor, engine, monkeypatch):
    monkeypatch.setattr(drafts, "SECONDS", 0)
    running = editor.run("fillHoles", editor.open(TWO_STUBS))
    await drafted(editor, engine, "x", "y")
    shown = await drafted(editor, engine, "x", "z", step=2)
    assert [(params["hole"], params["text"], params["step"]) for params in shown] == [
        (0, "x", 1),
        (1, "y", 1),
        (1, "z", 2),
    ]
    await answer(engine, ("x", "z"))
    await running


async def test_drafts_come_some_ten_times_a_second(editor, engine, monkeypatch):
    monkeypatch.setattr(drafts, "SECONDS", 3600)
    running = editor.run("fillHoles", editor.open(TWO_STUBS))
    await drafted(editor, engine, "x", "y")
    assert len(await drafted(editor, engine, "a", "b", step=2)) == 2
    await answer(engine, ("x", "z"))
    await running


async def test_drafts_that_come_to_nothing_are_taken_back(editor, engine):
    running = editor.run("fillHoles", editor.open(TWO_STUBS))
    await drafted(editor, engine, "x", "y")
    editor.cancel()
    await running
    last = [params for method, params in editor.client.notified if method == "palimpsest/draft"][-2:]
    assert [(params["hole"], params["text"], params["final"]) for params in last] == [(0, "", True), (1, "", True)]


async def test_no_drafts_for_clients_that_do_not_want_them(editor, engine):
    editor.session.initialize({"palimpsest": {"drafts": False}})
    running = editor.run("rewrite", editor.open("a = «1»\n"))
    assert await drafted(editor, engine, "x") == []
    await answer(engine, "2")
    await running


# Alternatives


async def filled(editor, engine, *choices, text="a = «1»\nb = 2\n"):
    running = editor.run("rewrite", editor.open(text))
    await answer(engine, *choices)
    assert (await running)["applied"]
    return types.Range(types.Position(0, 0), types.Position(0, 0))


def alternatives(found):
    return [each for each in found if getattr(each, "kind", None) == methods.ALTERNATIVE]


async def test_the_other_candidates_can_be_had_until_the_text_is_touched(editor, engine):
    editor.client_capabilities = able(resolve=["edit"], tags=[LLM])
    where = await filled(editor, engine, "10", "20", "30")
    found = alternatives(await editor.offered(where))
    assert [each.title for each in found] == ["Palimpsest: instead, 20", "Palimpsest: instead, 30"]
    assert {(each.edit, each.command, each.tags[0]) for each in found} == {(None, None, LLM)}
    assert not any("20" in str(each.data) for each in found)
    elsewhere = types.Range(types.Position(1, 0), types.Position(1, 0))
    assert alternatives(await editor.offered(elsewhere)) == []
    assert alternatives(await editor.offered(where, QUICKFIX)) == []
    inside = types.Range(types.Position(0, 5), types.Position(0, 5))
    editor.change(types.TextDocumentContentChangePartial(inside, "0"))
    assert alternatives(await editor.offered(where)) == []


async def test_alternatives_can_be_tried_one_after_the_other(editor, engine):
    where = await filled(editor, engine, "10", "20", "30")
    for number, expected in ((0, "20"), (1, "30"), (0, "10")):
        result = await editor.run(ALTERNATIVE, where, editor.version, number=number)
        assert result == {"applied": True, "reason": None, "holes": 1, "filled": 1}
        assert editor.document.text == f"a = {expected}\nb = 2\n"
    assert len(engine.jobs) == 1


async def test_edits_elsewhere_leave_the_alternatives(editor, engine):
    await filled(editor, engine, "10", "20", text="x\n" * 30 + "a = «1»\n" + "y\n" * 30)
    editor.change(
        types.TextDocumentContentChangePartial(types.Range(types.Position(0, 0), types.Position(0, 0)), "🎻\n")
    )
    where = types.Range(types.Position(31, 0), types.Position(31, 0))
    (found,) = alternatives(await editor.offered(where))
    editor.take(found.edit.document_changes[0].edits)
    assert editor.document.text == "🎻\n" + "x\n" * 30 + "a = 20\n" + "y\n" * 30


@pytest.mark.parametrize(
    ("can", "form"),
    [
        (able(resolve=["edit"]), "data"),
        (able(resolve=["edit"], edits=False), "data"),
        (able(resolve=["command"]), "edit"),
        (able(), "edit"),
        (able(literals=False), "command"),
        (able(literals=False, edits=False), None),
        (able(versions=False, resolve=["edit"]), None),
    ],
)
async def test_an_alternative_takes_the_form_that_the_client_knows(editor, engine, can, form):
    where = await filled(editor, engine, "10", "20")
    editor.client_capabilities = can
    found = [each for each in await editor.offered(where) if "instead" in each.title]
    if form is None:
        assert found == []
    elif form == "command":
        assert found[0].arguments[0]["action"] == ALTERNATIVE
    else:
        assert [name for name in ("data", "edit", "command") if getattr(found[0], name) is not None] == [form]


async def test_an_alternative_whose_fill_is_gone_is_refused(editor, engine):
    where = await filled(editor, engine, "10", "20")
    await nothing(
        editor, editor.run(ALTERNATIVE, where, editor.version, number=1), "the last fill is not there any more"
    )


class Registered:
    """Keeps the handlers that are bound."""

    def __init__(self, editor):
        self.session, self.client_capabilities, self.handlers = editor.session, editor.client_capabilities, {}

    def feature(self, name, options=None):
        return lambda handler: self.handlers.setdefault(name, handler)

    command = feature


async def test_resolving_gives_a_versioned_edit_or_says_that_the_document_changed(editor, engine):
    editor.client_capabilities = able(resolve=["edit"], annotations=True)
    where = await filled(editor, engine, "10", "20")
    (found,) = alternatives(await editor.offered(where))
    server = Registered(editor)
    handlers.register(server)
    resolve = server.handlers[types.CODE_ACTION_RESOLVE]
    resolved = await resolve(types.CodeAction(found.title, data=found.data))
    (change,) = resolved.edit.document_changes
    assert change.text_document.version == 2
    assert list(resolved.edit.change_annotations) == ["palimpsest"]
    editor.take(change.edits)
    assert editor.document.text == "a = 20\nb = 2\n"
    with pytest.raises(JsonRpcException, match="the document changed") as caught:
        await resolve(types.CodeAction(found.title, data=found.data))
    assert caught.value.code == types.LSPErrorCodes.ContentModified
    with pytest.raises(JsonRpcInvalidParams, match="expects one argument"):
        await resolve(types.CodeAction("x", data=[1]))
    other = types.CodeAction("of somebody else")
    assert await resolve(other) is other


SMALL = st.text(st.sampled_from("ab\n🎻"), max_size=40)
TEXTS = st.lists(SMALL.filter(bool), min_size=2, max_size=4, unique=True).map(tuple)


@given(SMALL, SMALL, TEXTS, SMALL, st.booleans())
def test_a_fill_is_found_again_only_with_one_of_its_texts_in_its_surroundings(before, after, texts, typed, ahead):
    fills = RecentFills()
    fills.keep(URI, Text.of(f"{before}old{after}"), Span(len(before), len(before) + 3), texts)
    text = f"{typed}{before}{texts[0]}{after}" if ahead else f"{before}{texts[0]}{after}{typed}"
    found = list(fills.find(URI, Text.of(text)))
    for standing in found:
        now = text[standing.span.start : standing.span.end]
        assert {now, *standing.others} == set(texts)
        assert text[: standing.span.start].endswith(before[-24:])
        assert text[standing.span.end :].startswith(after[:24])
    assert found  # edits on one side do not hide it


def test_a_few_fills_of_a_document_are_kept_the_last_one_first():
    fills = RecentFills()
    for number in range(6):
        fills.keep(URI, Text.of(""), Span(0, 0), (str(number), "other"))
    assert [[*fills.find(URI, Text.of(str(number)))] != [] for number in range(6)] == [False] * 2 + [True] * 4
    assert len(list(fills.find(URI, Text.of("other")))) == 4
    assert next(fills.find(URI, Text.of("other"))).others == ("5",)
    fills.forget(URI)
    assert list(fills.find(URI, Text.of("other"))) == []


def test_a_fill_without_a_choice_is_none():
    fills = RecentFills()
    fills.keep(URI, Text.of("ab"), Span(1, 1), ("x", "x", ""))
    assert list(fills.find(URI, Text.of("axb"))) == []


# Spans


WORDS = st.text(st.sampled_from("ab ._\n(é"), max_size=20)


@given(WORDS, st.data())
def test_a_span_grows_to_whole_words_and_no_further(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    span = scene.whole_words(text, Span(start, end))
    assert span.start <= start <= end <= span.end
    assert (text[span.start : start] + text[end : span.end]).replace("_", "a").isalnum() or span == Span(start, end)
    assert scene.whole_words(text, span) == span


SPANS = st.builds(lambda start, length: Span(start, start + length), st.integers(0, 20), st.integers(0, 5))


@given(st.lists(SPANS))
def test_merged_spans_are_sorted_disjoint_and_cover_the_same(spans):
    out = scene.merged(spans)
    assert all(one.end < other.start for one, other in pairwise(out))
    cover = {at for span in spans for at in range(span.start, span.end)}
    assert {at for span in out for at in range(span.start, span.end)} == cover


# Arguments


EDGE = {"line": 0, "character": 0}
HERE = {"start": EDGE, "end": EDGE}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "it got 0"),
        ([{}, {}], "it got 2"),
        ([1], "not an object"),
        ([{}], "action is one of fill, complete"),
        ([{"action": ["fill"], "uri": URI, "range": HERE}], "action is one of"),
        ([{"action": "explode", "uri": URI, "range": HERE}], "action is one of"),
        ([{"action": "fill", "uri": 1, "range": HERE}], "uri is not a string"),
        ([{"action": "fill", "uri": URI}], "range is not a range"),
        ([{"action": "fill", "uri": URI, "range": {"start": EDGE}}], "range is not a range"),
        ([{"action": "fill", "uri": URI, "range": [1, 2]}], "range is not a range"),
        (
            [{"action": "fill", "uri": URI, "range": {"start": EDGE, "end": {"line": -1, "character": 0}}}],
            "range is not a range",
        ),
        (
            [{"action": "fill", "uri": URI, "range": {"start": EDGE, "end": {"line": "x", "character": 0}}}],
            "range is not a range",
        ),
        ([{"action": "fillHoles", "uri": URI, "range": 1}], "range is not a range"),
        ([{"action": "fill", "uri": URI, "range": HERE, "version": "1"}], "version is not a whole number"),
        ([{"action": "fill", "uri": URI, "range": HERE, "version": True}], "version is not a whole number"),
        ([{"action": "repair", "uri": URI, "range": HERE, "problems": 3}], "problems is not a list"),
        ([{"action": "repair", "uri": URI, "range": HERE, "problems": [3]}], "problems is not a list"),
        ([{"action": "alternative", "uri": URI, "number": -1}], "number is not a whole number"),
        ([{"action": "alternative", "uri": URI, "number": "1"}], "number is not a whole number"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_a_sentence(arguments, complaint):
    with pytest.raises(JsonRpcInvalidParams, match=rf"palimpsest\.run expects one argument.*{complaint}"):
        target_of(RUN, *arguments)


def test_the_older_command_needs_no_action():
    given = {"uri": URI, "range": HERE, "version": 3}
    here = types.Range(types.Position(0, 0), types.Position(0, 0))
    assert target_of("palimpsest.fillSelection", given) == Target("fill", URI, here, 3)
    with pytest.raises(JsonRpcInvalidParams, match=r"fillSelection expects one argument \{uri, range, version"):
        target_of("palimpsest.fillSelection", 1)
