"""Inline completion on a session, without a wire: waiting, joining, keeping, prefetching, and every reason."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_engine import Confidence, Fill, Verdict
from palimpsest_server.documents import window
from palimpsest_server.documents.store import Documents
from palimpsest_server.features import inline_completion
from palimpsest_server.session import jobs

URI = "file:///a.py"
END = 13  # the end of the blank second line
BLANK = "what the model wrote is there already, or has no place here"


def ask(document, offset=END, automatic=False):
    return inline_completion.Ask(document, document.text, offset, offset, automatic)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def begun(session, engine, question, shown=None):
    """Return the answer, as a task that has asked the engine."""
    before = len(engine.jobs)
    show = (shown if shown is not None else []).append
    task = asyncio.create_task(inline_completion.complete(session, question, show))
    await until(lambda: len(engine.jobs) > before)
    return task


async def answered(session, question):
    answer = await inline_completion.complete(session, question, lambda news: None)
    return answer.texts, answer.reason, answer.source


async def test_an_invoked_request_waits_for_the_result(session, document, engine):
    answer = await begun(session, engine, ask(document))
    assert not answer.done()
    engine.finish("return 1")
    assert await answer == inline_completion.Answer(("return 1",), "", "model")


async def test_an_invoked_request_gets_several_candidates(session, document, engine):
    answer = await begun(session, engine, ask(document))
    assert engine.jobs[0].request.candidates == session.settings.candidates == 3
    fill = Fill(("return 1",), Verdict("valid"), alternatives=(("return 2",), ("return 1",), ("  ",), ("yield",)))
    engine.jobs[0].future.set_result(fill)
    assert (await answer).texts == ("return 1", "return 2", "yield")


@pytest.mark.parametrize("automatic", [True, False])
@pytest.mark.parametrize("most", [1, 2, 8])
async def test_no_more_suggestions_than_the_setting_says_are_sent(session, document, engine, automatic, most):
    session.configure({"drafts": False, "candidates": most, "answerWithinMs": 5000})
    answer = await begun(session, engine, ask(document, automatic=automatic))
    others = tuple((f"return {number}",) for number in range(2, 7))
    engine.jobs[0].future.set_result(Fill(("return 1",), Verdict("valid"), alternatives=others))
    texts = tuple(f"return {number}" for number in range(1, 7))[:most]
    assert (await answer).texts == texts
    assert (await answered(session, ask(document, automatic=True)))[0] == texts  # what is kept is cut, too


async def test_an_invoked_request_is_not_answered_with_a_single_kept_suggestion(session, document, engine):
    session.configure({"drafts": False})
    automatic = await begun(session, engine, ask(document, automatic=True))
    engine.finish("return 1")
    await automatic
    await until(lambda: not len(session.jobs))
    by_hand = await begun(session, engine, ask(document))
    assert engine.jobs[-1].request.candidates == 3
    engine.finish("return 2")
    assert (await by_hand).texts == ("return 2",)


async def test_an_invoked_request_gets_the_suggestion_that_was_just_announced(session, document, engine):
    """VS Code asks again by hand once the final draft has come."""
    assert await answered(session, ask(document, automatic=True)) == ((), "still denoising", "")
    await until(lambda: engine.jobs)
    engine.finish("return 1")
    await until(lambda: not session.jobs.running(URI))
    assert await answered(session, ask(document)) == (("return 1",), "", "cache")


async def test_an_automatic_request_does_not_wait_and_the_next_gets_the_result(session, document, engine):
    shown = []
    first = await inline_completion.complete(session, ask(document, automatic=True), shown.append)
    assert first.reason == "still denoising"
    await until(lambda: engine.jobs)
    engine.finish("return 1")
    await until(lambda: shown)
    assert [(news.text, news.final) for news in shown] == [("return 1", True)]
    assert await answered(session, ask(document, automatic=True)) == (("return 1",), "", "cache")


async def test_a_job_that_comes_to_nothing_replaces_still_denoising_with_its_reason(session, document, engine):
    _, reason, _ = await answered(session, ask(document, automatic=True))
    session.publisher.answered("textDocument/inlineCompletion", reason)
    assert session.board.status()["lastEmpty"]["reason"] == "still denoising"
    await until(lambda: engine.jobs)
    engine.finish("", "nothing that parses")
    await until(lambda: not len(session.jobs))
    assert session.board.status()["lastEmpty"]["reason"] == "nothing that parses"


async def test_a_job_that_comes_to_something_leaves_no_reason(session, document, engine):
    _, reason, _ = await answered(session, ask(document, automatic=True))
    session.publisher.answered("textDocument/inlineCompletion", reason)
    await until(lambda: engine.jobs)
    engine.finish("return 1")
    await until(lambda: not len(session.jobs))
    assert session.board.status()["lastEmpty"] is None


async def test_asking_again_joins_the_job_under_way(session, document, engine):
    first = await begun(session, engine, ask(document))
    second = asyncio.create_task(inline_completion.complete(session, ask(document), print))
    await asyncio.sleep(0.01)
    engine.finish("return 1")
    assert (await first).texts == (await second).texts == ("return 1",)
    assert [job.request.speculative for job in engine.jobs[1:]] == [True] * (len(engine.jobs) - 1)


async def test_asking_elsewhere_supersedes(session, document, engine):
    first = await begun(session, engine, ask(document))
    second = await begun(session, engine, ask(document, offset=8))
    assert (await first).reason == jobs.SUPERSEDED
    assert engine.jobs[0].cancelled.is_set()
    engine.finish("x")
    assert (await second).texts == ("x",)


async def test_typing_along_costs_no_model_call(session, document, engine):
    answer = await begun(session, engine, ask(document))
    engine.finish("return 1")
    await answer
    where = types.Range(types.Position(1, 4), types.Position(1, 4))
    typed = session.documents.change(URI, 2, [types.TextDocumentContentChangePartial(where, "ret")])
    assert await answered(session, ask(typed, END + 3, automatic=True)) == (("urn 1",), "", "cache")
    assert [job.request.speculative for job in engine.jobs[1:]] == [True] * (len(engine.jobs) - 1)


async def test_a_changed_document_gets_nothing_stale(session, document, engine):
    answer = await begun(session, engine, ask(document))
    engine.finish("return 1")
    session.documents.change(URI, 2, [types.TextDocumentContentChangeWholeDocument("other")])
    assert (await answer).reason == jobs.CHANGED


async def test_a_rejected_fill_is_not_asked_for_again(session, document, engine):
    answer = await begun(session, engine, ask(document))
    engine.finish("", "worse than before")
    assert (await answer).reason == "worse than before"
    assert await answered(session, ask(document, automatic=True)) == ((), "worse than before", "cache")
    assert len(engine.jobs) == 1


async def test_a_text_that_is_there_already_is_not_offered(session, engine):
    session.documents.open(types.TextDocumentItem(URI, "python", 1, "def f():\n    \n    return 1\n"))
    document = session.documents.snapshot(URI)
    answer = await begun(session, engine, ask(document))
    engine.finish("return 1")
    assert await answer == inline_completion.Answer((), BLANK)


async def test_loading_is_a_reason_of_its_own(session, document, engine):
    engine.state = "loading"
    assert (await answered(session, ask(document, automatic=True)))[1] == "the checkpoint is still loading"


async def test_an_automatic_request_leaves_an_action_alone_and_one_by_hand_does_not(session, document, engine):
    first = await begun(session, engine, ask(document))
    running = session.jobs.running(URI)
    running.purpose = "command"
    assert (await answered(session, ask(document, automatic=True)))[1] == "an action is at work on this document"
    assert not running.outcome.done()
    running.key = "another question"
    by_hand = await begun(session, engine, ask(document))
    assert (await first).reason == jobs.SUPERSEDED
    engine.finish("x")
    assert (await by_hand).texts == ("x",)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"enable": False}, "the setting palimpsest.enable is false"),
        ({"disabledLanguages": ["python"]}, "palimpsest.disabledLanguages has python"),
        ({"disabledLanguages": ["go", "Python"]}, "palimpsest.disabledLanguages has Python"),
        ({"disabledLanguages": ["py"]}, "palimpsest.disabledLanguages has py"),
        ({"disabledFolders": ["/"]}, "palimpsest.disabledFolders has /"),
    ],
)
async def test_a_setting_that_switches_off_is_the_reason(session, document, engine, section, reason):
    session.configure(section)
    assert await answered(session, ask(document)) == ((), reason, "")
    assert engine.jobs == []


async def test_a_language_the_checkpoint_was_not_trained_on_is_left_alone(session, document, engine):
    engine.languages = ("rust", "go")
    reason = "the checkpoint manual was trained on rust, go only; this document is python"
    assert await answered(session, ask(document)) == ((), reason, "")
    assert engine.jobs == []
    engine.languages = ("rust", "python")
    answer = await begun(session, engine, ask(document))
    engine.finish("x")
    assert (await answer).texts == ("x",)


@pytest.mark.parametrize(
    ("called", "uri", "disabled"),
    [
        ("python-base", "file:///b.py", "python-base"),
        ("python-base", "file:///b.py", "python"),
        ("", "file:///b%2Epy", "python"),
        ("Python", "untitled:Untitled-1", "python"),
        ("PYTHON", "untitled:Untitled-1", "Python"),
        ("golang", "file:///x", "go"),
    ],
)
async def test_a_language_is_disabled_by_the_editors_name_and_by_what_it_is_taken_for(session, called, uri, disabled):
    session.documents.open(types.TextDocumentItem(uri, called, 1, "x = \n"))
    opened = session.documents.snapshot(uri)
    session.configure({"disabledLanguages": [disabled]})
    assert await answered(session, ask(opened)) == ((), f"palimpsest.disabledLanguages has {disabled}", "")


async def test_drafts_are_thinned_out_and_end_with_the_result(session, document, engine, monkeypatch):
    now = 100.0
    monkeypatch.setattr(inline_completion, "monotonic", lambda: now)
    shown = []
    answer = await begun(session, engine, ask(document), shown)
    running = session.jobs.running(URI)
    for step in range(1, 31):
        engine.draft(f"draft {step}", step, share=step / 30)
        await until(lambda step=step: running.draft and running.draft.step == step)
        now += 1 / 32
    engine.finish("return 1")
    await answer
    await until(lambda: shown[-1].final)
    assert [news.text for news in shown] == [f"draft {step}" for step in range(1, 31, 4)] + ["return 1"]
    assert [news.final for news in shown] == [False] * (len(shown) - 1) + [True]


async def test_no_draft_is_shown_to_a_client_that_wants_none(session, document, engine):
    session.configure({"drafts": False})
    shown = []
    answer = await begun(session, engine, ask(document), shown)
    engine.draft("draft")
    engine.finish("return 1")
    await answer
    assert shown == []


async def test_a_stable_draft_answers_a_request_that_cannot_wait_longer(session, document, engine):
    first = await begun(session, engine, ask(document))
    running = session.jobs.running(URI)
    for text, stable in (("return (", False), ("return (", True), ("return 1", False), ("return 1", True)):
        engine.draft(text, share=1.0)
        await until(
            lambda text=text, stable=stable: (
                running.draft and running.draft.texts == (text,) and running.stable is stable
            )
        )
        texts, reason, source = await answered(session, ask(document, automatic=True))
        # One that breaks the syntax does not count.
        good = stable and text == "return 1"
        assert (texts, reason, source) == ((text,) if good else (), "" if good else "still denoising", "draft" * good)
    engine.finish("return 2")
    assert (await first).texts == ("return 2",)


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
async def test_only_on_a_blank_line_a_suggestion_has_several_lines(session, engine, text, offset, lines):
    session.configure({"maxLines": 9, "seed": 4})
    session.documents.open(types.TextDocumentItem(URI, "python", 1, text))
    document = session.documents.snapshot(URI)
    await begun(session, engine, ask(document, offset))
    request = engine.jobs[0].request
    assert (request.max_lines, request.seed, request.language, request.path) == (lines, 4, "python", "/a.py")
    assert (request.document, request.text, request.holes[0].start) == (URI, text, offset)
    assert request.tidy


async def test_line_ends_are_those_of_the_document(session, engine):
    session.documents.open(types.TextDocumentItem(URI, "python", 1, "def f():\r\n    \r\n"))
    document = session.documents.snapshot(URI)
    answer = await begun(session, engine, ask(document, 14))
    engine.finish("a = 1\n    return a")
    assert (await answer).texts == ("a = 1\r\n    return a",)


# Prefetching


async def suggested(session, document, engine):
    """Get the suggestion `return 1`, and wait until the prefetch behind it has reached the engine."""
    answer = await begun(session, engine, ask(document))
    engine.finish("return 1")
    await answer
    await until(lambda: len(engine.jobs) == 2)


async def accepted(session, document, text):
    where = document.range_at(END, END, session.documents.encoding)
    after = session.documents.change(URI, 2, [types.TextDocumentContentChangePartial(where, text)])
    inline_completion.moved_on(session, URI)
    return after


async def test_the_next_position_is_prefetched_while_a_suggestion_is_shown(session, document, engine):
    await suggested(session, document, engine)
    ahead = engine.jobs[1].request
    assert (ahead.speculative, ahead.text, ahead.holes[0].start) == (True, "def f():\n    return 1\n", 21)
    after = await accepted(session, document, "return 1")
    assert not engine.jobs[1].cancelled.is_set()
    engine.finish(" + 1")
    await until(lambda: not session.jobs.running(URI))
    assert await answered(session, ask(after, 21, automatic=True)) == ((" + 1",), "", "cache")


async def test_a_request_for_a_prefetched_place_ends_the_pause_before_it(session, document, engine, monkeypatch):
    monkeypatch.setattr(inline_completion, "_BEFORE_PREFETCH", 3600.0)
    answer = await begun(session, engine, ask(document))
    engine.finish("return 1")
    await answer
    after = await accepted(session, document, "return 1")
    assert len(engine.jobs) == 1
    following = ask(after, 21, automatic=True)
    assert (await inline_completion.complete(session, following, lambda news: None)).reason == "still denoising"
    await until(lambda: len(engine.jobs) == 2)
    engine.finish(" + 1")
    await until(lambda: not session.jobs.running(URI))
    assert await answered(session, following) == ((" + 1",), "", "cache")


async def test_a_client_that_could_not_wait_for_a_prefetch_is_told_of_its_result(session, document, engine):
    await suggested(session, document, engine)
    following, shown = ask(await accepted(session, document, "return 1"), 21, automatic=True), []
    assert (await inline_completion.complete(session, following, shown.append)).reason == "still denoising"
    engine.finish(" + 1")
    await until(lambda: shown)
    (news,) = shown
    assert (news.ask, news.text, news.final) == (following, " + 1", True)
    assert await answered(session, following) == ((" + 1",), "", "cache")


async def test_a_prefetch_that_comes_to_nothing_has_a_reason_for_the_request_that_could_not_wait(
    session, document, engine
):
    await suggested(session, document, engine)
    following, shown = ask(await accepted(session, document, "return 1"), 21, automatic=True), []
    waiting = await inline_completion.complete(session, following, shown.append)
    session.publisher.answered("textDocument/inlineCompletion", waiting.reason)
    engine.jobs[1].future.set_result(Fill(("",), Verdict("worse"), "every candidate was worse"))
    await until(lambda: shown)
    assert (shown[0].text, shown[0].final) == ("", True)
    assert session.board.status()["lastEmpty"]["reason"] == "every candidate was worse"


async def test_the_other_suggestions_are_alternatives_of_the_accepted_one(session, document, engine):
    answer = await begun(session, engine, ask(document))
    engine.jobs[0].future.set_result(Fill(("return 1",), Verdict("valid"), alternatives=(("return 2",),)))
    await answer
    after = await accepted(session, document, "return 1")
    (standing,) = session.recent_fills.find(URI, after.content)
    assert (standing.span.start, standing.others) == (END, ("return 2",))


async def test_typing_along_a_suggestion_keeps_the_prefetch_and_typing_against_it_ends_it(session, document, engine):
    await suggested(session, document, engine)
    some = await accepted(session, document, "ret")
    assert not engine.jobs[1].cancelled.is_set()
    where = some.range_at(END + 3, END + 3, session.documents.encoding)
    session.documents.change(URI, 3, [types.TextDocumentContentChangePartial(where, "ry")])
    inline_completion.moved_on(session, URI)
    assert engine.jobs[1].cancelled.is_set()


async def test_a_request_supersedes_a_prefetch(session, document, engine):
    await suggested(session, document, engine)
    other = await begun(session, engine, ask(document, 8))
    assert engine.jobs[1].cancelled.is_set()
    engine.finish("x")
    assert (await other).texts == ("x",)


async def test_nothing_is_prefetched_unless_the_user_wants_it(session, document, engine):
    session.configure({"speculate": False})
    answer = await begun(session, engine, ask(document))
    engine.finish("return 1")
    await answer
    await asyncio.sleep(0.02)
    assert len(engine.jobs) == 1
    assert session.jobs.counters() == {"model": 1, "speculative": 0, "superseded": 0}


async def test_a_text_that_changes_during_the_pause_in_typing_never_reaches_the_model(session, engine):
    session.configure({"debounceMs": 2000})
    waiting = []
    for version in range(2, 12):
        session.documents.change(
            URI, version, [types.TextDocumentContentChangeWholeDocument("def f():\n    " + "x" * version)]
        )
        inline_completion.moved_on(session, URI)
        document = session.documents.snapshot(URI)
        waiting.append(asyncio.create_task(answered(session, ask(document, len(document.text), automatic=True))))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting[:-1])
    assert engine.jobs == []
    assert len(session.jobs) == 1


# Large documents


@given(length=st.integers(0, 3 * window.REACH), data=st.data())
def test_typing_does_not_move_the_window_of_a_large_document(length, data):
    documents = Documents()
    documents.open(types.TextDocumentItem(URI, "python", 1, ("x" * 71 + "\n") * (length // 72 + 1)))
    document = documents.snapshot(URI)
    offset = data.draw(st.integers(0, len(document.content)))
    text, base = window.around(document, offset, offset)
    assert document.text[base : base + len(text)] == text
    assert offset - base >= min(offset, window.REACH - 72 - window.STRIDE)
    assert base + len(text) - offset >= min(len(document.text) - offset, window.REACH - window.STRIDE)
    assert base == 0 or document.text[base - 1] == "\n"
    where = document.range_at(offset, offset, documents.encoding)
    typed = documents.change(URI, 2, [types.TextDocumentContentChangePartial(where, "y")])
    after, then = window.around(typed, offset + 1, offset + 1)
    if then == base and len(document.content) > 2 * window.REACH:
        assert after == text[: offset - base] + "y" + text[offset - base :]


# What is sure enough


WEAK, SURE = Confidence(0.12, 0.3), Confidence(0.8, 0.7)


def finish(engine, *pairs):
    texts, confidences = [(text,) for text, _ in pairs], tuple(each for _, each in pairs)
    fill = Fill(texts[0], Verdict("valid"), alternatives=tuple(texts[1:]), confidences=confidences)
    engine.jobs[-1].future.set_result(fill)


async def test_an_unsure_suggestion_is_shown_only_when_somebody_asks(session, document, engine):
    engine.calibrated = True
    first = await begun(session, engine, ask(document, automatic=True))
    assert (await first).reason == "still denoising"
    finish(engine, ("return 1", WEAK))
    await until(lambda: session.jobs.running(URI) is None)
    texts, reason, source = await answered(session, ask(document, automatic=True))
    assert (texts, source) == ((), "cache")
    assert reason == "not sure enough (about 12 % likely to be right; eagerness is medium)"
    session.settings = replace(session.settings, candidates=1)
    shown = await inline_completion.complete(session, ask(document), lambda news: None)
    assert shown == inline_completion.Answer(("return 1",), "", "cache", "about 12 % likely to be right")


async def test_the_sure_ones_of_several_are_shown(session, document, engine):
    first = await begun(session, engine, ask(document, automatic=True))
    await first
    finish(engine, ("return 1", WEAK), ("return 2", SURE))
    await until(lambda: len(engine.jobs) > 1 or session.jobs.running(URI) is None)
    assert (await answered(session, ask(document, automatic=True)))[0] == ("return 2",)


async def test_nothing_is_prepared_after_what_is_held_back(session, document, engine):
    await (await begun(session, engine, ask(document, automatic=True)))
    finish(engine, ("return 1", WEAK))
    await until(lambda: session.jobs.running(URI) is None)
    await answered(session, ask(document, automatic=True))
    assert len(engine.jobs) == 1


async def test_a_client_that_watches_sees_no_draft_of_what_may_be_held_back(session, document, engine):
    engine.calibrated, shown = True, []
    await (await begun(session, engine, ask(document, automatic=True), shown))
    engine.draft("return 1", step=1, share=1.0)
    engine.draft("return 1", step=2, share=1.0)
    await asyncio.sleep(0)
    again = await inline_completion.complete(session, ask(document, automatic=True), shown.append)
    assert again.reason == "still denoising"
    finish(engine, ("return 1", WEAK))
    await until(lambda: session.jobs.running(URI) is None)
    assert [(news.text, news.final) for news in shown] == [("", True)]
    assert session.board.status()["lastEmpty"] is None


@pytest.mark.parametrize(("state", "drafts"), [("starting", []), ("loading", []), ("ready", ["ret"])])
async def test_no_draft_is_shown_unasked_before_it_is_known_whether_the_model_is_sure(
    session, document, engine, state, drafts
):
    engine.state, shown = state, []
    await (await begun(session, engine, ask(document, automatic=True), shown))
    engine.draft("ret", step=1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [news.text for news in shown] == drafts


async def test_the_model_is_asked_again_once_a_part_of_what_was_held_back_is_typed(session, document, engine):
    await (await begun(session, engine, ask(document, automatic=True)))
    finish(engine, ("return 1", WEAK))
    await until(lambda: session.jobs.running(URI) is None)
    change = types.TextDocumentContentChangePartial(
        types.Range(types.Position(1, 4), types.Position(1, 4)), "ret", range_length=0
    )
    session.documents.change(URI, 2, [change])
    now = session.documents.snapshot(URI)
    await begun(session, engine, ask(now, END + 3, automatic=True))
    assert engine.jobs[-1].request.text == "def f():\n    ret\n"


async def test_with_high_eagerness_everything_is_shown(session, document, engine):
    session.settings = replace(session.settings, eagerness="high")
    await (await begun(session, engine, ask(document, automatic=True)))
    finish(engine, ("return 1", WEAK))
    await until(lambda: len(engine.jobs) > 1 or session.jobs.running(URI) is None)
    assert (await answered(session, ask(document, automatic=True)))[0] == ("return 1",)
