"""Filling a selection: where it is offered, what the command takes, and that nothing stale comes out."""

import asyncio

import pytest
from lsprotocol import types

from palimpsest_engine import Span
from palimpsest_server import edit, jobs, selection
from palimpsest_server.documents import Snapshot
from palimpsest_server.text import Text

URI = "file:///a.py"
BODY = types.Range(types.Position(0, 4), types.Position(0, 5))


def document(text):
    return Snapshot(URI, 1, Text.of(text), "python")


@pytest.mark.parametrize(
    ("text", "span", "only", "offered"),
    [
        ("a = 1", (0, 3), None, True),
        ("a = 1", (3, 3), None, False),
        ("a\n  \nb", (3, 3), None, True),  # a blank line is a hole
        ("", (0, 0), None, True),
        ("a = 1", (0, 3), ["refactor"], True),
        ("a = 1", (0, 3), ["refactor.rewrite"], True),
        ("a = 1", (0, 3), [""], True),
        ("a = 1", (0, 3), ["refactor.rewrite.deep"], False),
        ("a = 1", (0, 3), ["refactor.re"], False),
        ("a = 1", (0, 3), ["quickfix", "source"], False),
        ("a = 1", (0, 3), [], False),
    ],
)
def test_where_it_is_offered(text, span, only, offered):
    assert selection.offered(document(text), Span(*span), only) is offered


def test_the_action_is_tagged_for_clients_that_know_the_tag():
    range_ = types.Range(types.Position(0, 0), types.Position(0, 1))
    literal = types.ClientCodeActionLiteralOptions(types.ClientCodeActionKindOptions([]))
    tags = types.CodeActionTagOptions([types.CodeActionTag.LlmGenerated])

    def given(support):
        capabilities = types.ClientCapabilities(text_document=types.TextDocumentClientCapabilities(code_action=support))
        return selection.action(document("ab"), range_, capabilities)

    assert isinstance(given(None), types.Command)
    plain = given(types.CodeActionClientCapabilities(code_action_literal_support=literal))
    tagged = given(types.CodeActionClientCapabilities(code_action_literal_support=literal, tag_support=tags))
    assert isinstance(plain, types.CodeAction)
    assert isinstance(tagged, types.CodeAction)
    assert (plain.tags, tagged.tags) == (None, [types.CodeActionTag.LlmGenerated])
    assert tagged.command is not None
    assert selection.target_of(tagged.command.arguments) == selection.Target(URI, range_, 1)


EDGE = {"line": 0, "character": 0}


@pytest.mark.parametrize(
    "arguments",
    [
        None,
        [],
        [1],
        [{}],
        [{"uri": 1, "range": {"start": EDGE, "end": EDGE}}],
        [{"uri": URI}],
        [{"uri": URI, "range": {"start": EDGE}}],
        [{"uri": URI, "range": {"start": EDGE, "end": {"line": -1, "character": 0}}}],
        [{"uri": URI, "range": {"start": EDGE, "end": {"line": "x", "character": 0}}}],
        [{"uri": URI, "range": {"start": EDGE, "end": EDGE}, "version": "1"}],
        [{"uri": URI, "range": {"start": EDGE, "end": EDGE}}, 2],
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_a_sentence(arguments):
    with pytest.raises(ValueError, match=r"palimpsest\.fillSelection expects one argument"):
        selection.target_of(arguments)


async def begun(session, version=1, range_=BODY):
    snapshot = session.documents.snapshot(URI)
    target = selection.Target(URI, range_, version)
    task = asyncio.create_task(selection.fill(session, snapshot, target, lambda draft: None))
    await asyncio.sleep(0)
    return task


async def test_the_smallest_edit_comes_out(session, document, engine):
    answer = await begun(session, range_=types.Range(types.Position(0, 0), types.Position(0, 8)))
    assert engine.jobs[0].request.holes == (Span(0, 8),)
    assert engine.jobs[0].request.max_lines is None
    engine.finish("def g():")
    assert await answer == (edit.Edit(Span(4, 5), "g"), "")


async def test_what_is_there_already_is_no_edit(session, document, engine):
    answer = await begun(session)
    engine.finish("f")
    assert await answer == (None, "the fill is what is there already")


async def test_a_fill_for_an_older_document_is_thrown_away(session, document, engine):
    answer = await begun(session)
    engine.finish("g")
    await asyncio.sleep(0)
    session.documents.change(URI, 2, [types.TextDocumentContentChangeWholeDocument("other")])
    assert await answer == (None, jobs.CHANGED)


async def test_an_action_for_an_older_document_is_not_begun(session, document, engine):
    assert await (await begun(session, version=0)) == (None, jobs.CHANGED)
    assert engine.jobs == []


async def test_without_a_version_the_present_one_is_meant(session, document, engine):
    answer = await begun(session, version=None)
    engine.finish("g")
    assert (await answer)[1] == ""


async def test_a_document_that_is_not_open_has_a_reason(session):
    target = selection.Target("file:///b.py", BODY, None)
    assert await selection.fill(session, None, target, print) == (None, "the document is not open")
