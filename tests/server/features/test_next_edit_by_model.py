"""Next edits by a model: asked where syntax decides nothing, in the background of everything else."""

import asyncio
from dataclasses import replace

import pytest
from lsprotocol import types

from palimpsest_engine import EngineStatus, FillCancelled, FollowUps, NextEdit, Place, Span
from palimpsest_engine.changes import NOTHING_FOLLOWS
from palimpsest_server.features.next_edit import answer
from palimpsest_server.features.next_edit.answer import Ask, next_edits
from palimpsest_server.session.jobs import SUPERSEDED

URI = "file:///a.py"
CODE = "a = f(1)\nb = g(2)\n"
WRITTEN = "a = f(1)\nb = f(2)\n"
SILENT = FollowUps(reason=NOTHING_FOLLOWS)


@pytest.fixture
def found(monkeypatch):
    """The finds of syntax, to be set."""
    found = [SILENT]
    monkeypatch.setattr(answer, "follow_ups", lambda question: found[0])
    monkeypatch.setattr(answer, "_MOMENT_SECONDS", 0.0)
    return found


@pytest.fixture
def asking(session, engine, found):
    """Ask at the end of the document, after its first line was changed."""
    engine.status = lambda: EngineStatus("ready", edits=True)
    session.documents.close(URI)
    session.documents.open(types.TextDocumentItem(URI, "python", 1, CODE.replace("f(1)", "g(1)")))
    where = types.Range(types.Position(0, 4), types.Position(0, 5))
    session.documents.change(URI, 2, [types.TextDocumentContentChangePartial(where, "f")])

    def ask(**more):
        return asyncio.ensure_future(next_edits(session, Ask(session.documents.snapshot(URI), len(CODE), **more)))

    return ask


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_the_model_is_shown_the_change_and_its_edit_is_offered(asking, engine):
    asked = asking()
    await until(lambda: engine.jobs)
    request = engine.jobs[0].request
    assert [(each.path, each.before, each.after) for each in request.changes] == [("/a.py", "a = g(1)\n", "a = f(1)\n")]
    assert request.speculative
    assert request.document != URI
    engine.finish(WRITTEN)
    (offered,) = (await asked).edits
    assert (offered.edit.kind, offered.edit.span, offered.edit.text) == ("model", Span(13, 14), "f")


async def test_a_place_that_syntax_has_found_is_looked_at(asking, engine, found):
    found[0] = replace(SILENT, places=(Place(URI, Span(9, 17), "`g` got a parameter"),))
    asked = asking()
    await until(lambda: engine.jobs)
    engine.finish(WRITTEN)
    assert (await asked).edits[0].edit.reason == "`g` got a parameter"


@pytest.mark.parametrize(
    ("status", "more", "settings", "said"),
    [
        ({"edits": False}, {}, {}, NOTHING_FOLLOWS),
        ({"state": "loading"}, {}, {}, NOTHING_FOLLOWS),
        ({}, {"shown": False}, {}, NOTHING_FOLLOWS),
        ({}, {}, {"nextEdit": "low"}, NOTHING_FOLLOWS),
    ],
    ids=["not taught", "not loaded", "for a code action", "only what is sure"],
)
async def test_the_model_is_not_asked(asking, engine, session, status, more, settings, said):
    engine.status = lambda: EngineStatus(**({"state": "ready", "edits": True} | status))
    session.configure(settings)
    assert (await asking(**more)).reason == said
    assert not engine.jobs


async def test_nobody_is_asked_if_syntax_has_decided(asking, engine, found):
    found[0] = FollowUps(reason="the change was undone")
    assert (await asking()).reason == "the change was undone"
    found[0] = FollowUps((NextEdit(URI, Span(13, 14), "f", "sibling", "alike"),))
    assert (await asking()).edits[0].edit.kind == "sibling"
    assert not engine.jobs


async def test_a_newer_question_ends_the_older_job(asking, engine):
    first = asking()
    await until(lambda: engine.jobs)
    second = asking()
    assert (await first).reason == SUPERSEDED
    await until(engine.jobs[0].cancelled.is_set)
    await until(lambda: len(engine.jobs) == 2)
    engine.finish(WRITTEN)
    assert (await second).edits


async def test_a_change_ends_the_job_and_nothing_stale_is_offered(asking, engine, session):
    asked = asking()
    await until(lambda: engine.jobs)
    where = types.Range(types.Position(0, 0), types.Position(0, 1))
    session.documents.change(URI, 3, [types.TextDocumentContentChangePartial(where, "c")])
    engine.finish(WRITTEN)
    found = await asked
    assert not found.edits
    assert found.reason


async def test_the_reason_is_why_the_model_has_nothing(asking, engine):
    asked = asking()
    await until(lambda: engine.jobs)
    engine.finish("", "The model would leave everything as it is.")
    assert (await asked).reason == "The model would leave everything as it is."
    asked = asking()
    await until(lambda: len(engine.jobs) == 2)
    engine.jobs[-1].future.set_exception(FillCancelled("The fill was cancelled."))
    assert (await asked).reason == "The fill was cancelled."
