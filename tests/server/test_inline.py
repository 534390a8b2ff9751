"""Inline completion on a session, without a wire: who waits, who joins, what is kept, and every reason."""

import asyncio

import pytest
from lsprotocol import types

from palimpsest_server import inline, jobs

URI = "file:///a.py"
END = 13  # the end of the blank second line


def ask(document, offset=END, automatic=False):
    return inline.Ask(document, document.text, offset, automatic)


async def begun(session, question, shown=None):
    """The answer, as a task that has asked the engine."""
    show = (shown if shown is not None else []).append
    task = asyncio.create_task(inline.complete(session, question, show))
    await asyncio.sleep(0)
    return task


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_invoked_request_waits_for_the_result(session, document, engine):
    answer = await begun(session, ask(document))
    assert not answer.done()
    engine.finish("return 1")
    assert await answer == ("return 1", "")


async def test_an_automatic_request_does_not_and_the_next_gets_the_result(session, document, engine):
    shown = []
    assert await inline.complete(session, ask(document, automatic=True), shown.append) == (
        "",
        "still denoising",
    )
    engine.finish("return 1")
    await settled()
    assert [(news.text, news.final) for news in shown] == [("return 1", True)]
    assert await inline.complete(session, ask(document, automatic=True), shown.append) == ("return 1", "")
    assert len(engine.jobs) == 1


async def test_asking_again_joins_the_job_under_way(session, document, engine):
    await inline.complete(session, ask(document, automatic=True), print)
    answer = await begun(session, ask(document))
    engine.finish("return 1")
    assert await answer == ("return 1", "")
    assert len(engine.jobs) == 1


async def test_asking_elsewhere_supersedes(session, document, engine):
    first = await begun(session, ask(document))
    second = await begun(session, ask(document, offset=8))
    assert await first == ("", jobs.SUPERSEDED)
    assert engine.jobs[0].cancelled.is_set()
    engine.finish("x")
    assert await second == ("x", "")


async def test_typing_along_costs_no_model_call(session, document, engine):
    answer = await begun(session, ask(document))
    engine.finish("return 1")
    await answer
    await settled()
    where = types.Range(types.Position(1, 4), types.Position(1, 4))
    typed = session.documents.change(URI, 2, [types.TextDocumentContentChangePartial(where, "ret")])
    assert await inline.complete(session, ask(typed, END + 3, automatic=True), print) == ("urn 1", "")
    assert len(engine.jobs) == 1


async def test_a_changed_document_gets_nothing_stale(session, document, engine):
    answer = await begun(session, ask(document))
    engine.finish("return 1")
    await asyncio.sleep(0)  # the result is here, the answer is not
    session.documents.change(URI, 2, [types.TextDocumentContentChangeWholeDocument("other")])
    assert await answer == ("", jobs.CHANGED)


async def test_what_the_gate_rejected_is_not_asked_for_again(session, document, engine):
    answer = await begun(session, ask(document))
    engine.finish("", "worse than before")
    assert await answer == ("", "worse than before")
    await settled()
    assert await inline.complete(session, ask(document, automatic=True), print) == ("", "worse than before")
    assert len(engine.jobs) == 1


async def test_loading_is_a_reason_of_its_own(session, document, engine):
    engine.state = "loading"
    _, reason = await inline.complete(session, ask(document, automatic=True), print)
    assert reason == "the checkpoint is still loading"


async def test_an_automatic_request_leaves_a_fill_of_the_selection_alone(session, document, engine):
    asked = inline.request_for(ask(document), None, 1)
    running = session.jobs.start(engine, asked, "selection", print, lambda outcome: None)
    text, reason = await inline.complete(session, ask(document, automatic=True), print)
    assert (text, reason) == ("", "a selection of this document is being filled")
    assert not running.outcome.done()
    answer = await begun(session, ask(document))
    assert running.outcome.result().reason == jobs.SUPERSEDED
    engine.finish("x")
    assert await answer == ("x", "")


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"enable": False}, "the setting palimpsest.enable is false"),
        ({"disabledLanguages": ["python"]}, "palimpsest.disabledLanguages has python"),
    ],
)
async def test_what_is_switched_off_says_so(session, document, engine, section, reason):
    session.configure(section)
    assert await inline.complete(session, ask(document), print) == ("", reason)
    assert engine.jobs == []


async def test_a_language_the_checkpoint_was_not_trained_on_is_left_alone(session, document, engine):
    engine.languages = ("rust", "go")
    reason = "the checkpoint manual was trained on rust, go only"
    assert await inline.complete(session, ask(document), print) == ("", reason)
    assert engine.jobs == []
    engine.languages = ("rust", "python")
    answer = await begun(session, ask(document))
    engine.finish("x")
    assert await answer == ("x", "")


async def test_drafts_are_thinned_out_and_end_with_the_result(session, document, engine, monkeypatch):
    now = 100.0
    monkeypatch.setattr(inline, "monotonic", lambda: now)
    shown = []
    answer = await begun(session, ask(document), shown)
    for step in range(1, 31):
        engine.draft(f"draft {step}", step, share=step / 30)
        await settled()
        now += 1 / 32
    engine.finish("return 1")
    await answer
    await settled()
    assert [news.text for news in shown] == [f"draft {step}" for step in range(1, 31, 4)] + ["return 1"]
    assert [news.final for news in shown] == [False] * (len(shown) - 1) + [True]


async def test_no_draft_is_shown_to_who_did_not_ask_for_any(session, document, engine):
    session.configure({"drafts": False})
    shown = []
    answer = await begun(session, ask(document), shown)
    engine.draft("draft")
    engine.finish("return 1")
    await answer
    await settled()
    assert shown == []


@pytest.mark.parametrize(
    ("text", "offset", "lines"),
    [
        ("a\n    \nb", 6, 9),  # a blank line
        ("", 0, 9),
        ("a\n    b", 6, 1),  # code after the cursor
        ("a = ", 4, 1),  # code before it
        ("f()", 2, 1),
    ],
)
def test_how_far_a_suggestion_may_reach(session, text, offset, lines):
    session.documents.open(types.TextDocumentItem(URI, "python", 1, text))
    document = session.documents.snapshot(URI)
    request = inline.request_for(ask(document, offset), max_lines=9, seed=4)
    assert (request.max_lines, request.seed, request.language, request.path) == (lines, 4, "python", "/a.py")
    assert (request.document, request.text, request.holes[0].start) == (URI, text, offset)


async def test_line_ends_are_those_of_the_document(session, engine):
    session.documents.open(types.TextDocumentItem(URI, "python", 1, "def f():\r\n    \r\n"))
    document = session.documents.snapshot(URI)
    answer = await begun(session, ask(document, 14))
    engine.finish("a\nb")
    assert await answer == ("a\r\nb", "")
