"""Another Palimpsest at an endpoint: whole requests cross, and what comes back is an engine's own."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import (
    Draft,
    DraftPiece,
    EndpointError,
    EngineStatus,
    Fill,
    FillCancelled,
    Span,
    StartPiece,
    Verdict,
)
from palimpsest_engine.messages import to_bytes
from palimpsest_engine.remote import whole as wholes
from palimpsest_engine.remote.whole import _near

from .conftest import PROPERTIES, TEXT, event, head, request, whole

ENGINE = EngineStatus("ready", model="model", device="cuda:0", languages=("python",), denoises=True, edits=True)
DRAFTS = [Draft(step, ((DraftPiece("wi", True), DraftPiece("??", False)),), step / 4) for step in (1, 2)]
FILL = Fill(("width * height",), Verdict("worse", "a reason", (Span(3, 5),)), alternatives=(("height",),), nfe=4)
OURS = PROPERTIES | {"build_info": "palimpsest 0.1.0"}
SENTENCE = "The model model was not trained on rust."


def plain(value):
    return msgspec.to_builtins(value)


def palimpsest(fill=FILL, engine=ENGINE):
    """Answer as `palimpsest api` does."""

    def answer(connection, path, body):
        if path == "/props":
            connection.sendall(whole(OURS))
        elif path == "/v1/engine":
            connection.sendall(whole(plain(engine)))
        elif path == "/v1/fill":
            connection.sendall(head() + b": ping\n\n")
            for name, each in (*(("draft", draft) for draft in DRAFTS), ("fill", fill)):
                connection.sendall(f"event: {name}\n".encode() + event(plain(each)))
        else:
            connection.sendall(head("application/json", "404 Not Found"))

    return answer


def test_drafts_and_the_fill_are_the_engines_own(serve, ask):
    asked = ask(serve(palimpsest()).url)
    assert asked.fill(request()) == FILL
    assert asked.drafts == DRAFTS


def test_the_status_is_the_engines_with_the_machine_that_answers(serve, ask):
    wire = serve(palimpsest())
    asked = ask(wire.url)
    asked.fill(request())
    place = f"{wire.url.removeprefix('http://')} (palimpsest), cuda:0"
    assert asked.engine.status() == replace(ENGINE, device=place)


@pytest.mark.parametrize(
    "wanted",
    [request(strength=0.5), request(holes=(Span(0, 3), Span(30, 32))), request(candidates=3, speculative=True)],
)
def test_requests_that_only_such_a_server_can_answer_are_asked_of_it(serve, ask, wanted):
    wire = serve(palimpsest(replace(FILL, texts=("x",) * len(wanted.holes), alternatives=())))
    ask(wire.url).fill(wanted)
    ((_, body, headers),) = [each for each in wire.asked if each[0] == "/v1/fill"]
    assert msgspec.convert(body, type(wanted)) == wanted
    assert "text/event-stream" in headers["accept"]


def test_a_start_and_a_temperature_are_passed_on_and_a_trace_is_not(serve, ask):
    wire = serve(palimpsest())
    wanted = request(start=(StartPiece("pinned", "x", key=4), StartPiece("noise", slots=2)), temperature=0.5, trace=5)
    ask(wire.url).fill(wanted)
    ((_, body, _),) = [each for each in wire.asked if each[0] == "/v1/fill"]
    assert msgspec.convert(body, type(wanted)) == replace(wanted, trace=0)


def test_paths_and_addresses_of_documents_stay_here(serve, ask):
    wire = serve(palimpsest())
    ask(wire.url).fill(
        request(path="/home/ada/secret-project/area.py", document="file:///home/ada/secret-project/area.py")
    )
    assert "secret-project" not in str(wire.asked)
    assert wire.asked[-1][1]["path"] == "area.py"
    assert wire.asked[-1][1]["document"]


@given(before=st.text("ab\n", max_size=60), after=st.text("ab\n", max_size=60), cursor=st.integers(0, 120))
def test_only_the_text_near_the_holes_is_sent_and_the_rest_is_put_back(before, after, cursor):
    bounds = wholes.BEFORE, wholes.AFTER
    wholes.BEFORE, wholes.AFTER = 20, 10
    try:
        whole_request = request(before + "HOLE" + after, holes=(Span(len(before), len(before) + 4),), cursor=cursor)
        sent, shift = _near(whole_request)
    finally:
        wholes.BEFORE, wholes.AFTER = bounds
    (hole,) = sent.holes
    assert sent.text[hole.start : hole.end] == "HOLE"
    assert whole_request.text[shift : shift + len(sent.text)] == sent.text
    assert shift == 0 or whole_request.text[shift - 1] == "\n"
    assert len(sent.text) - hole.end == min(10, len(after))
    assert 0 <= sent.cursor <= len(sent.text)


def test_broken_spans_are_those_of_the_whole_document(serve, ask, monkeypatch):
    monkeypatch.setattr(wholes, "BEFORE", 5)
    lines = "x = 1\n" * 20
    fill = ask(serve(palimpsest()).url).fill(request(lines + TEXT, holes=(Span(130, 130),)))
    shift = 120
    assert fill.verdict.bad == (Span(3 + shift, 5 + shift),)


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        ({"texts": ["a"], "verdict": {"status": "fine"}}, "no Fill of Palimpsest"),
        ({"texts": ["a", "b"], "verdict": {"status": "valid"}}, "another number of holes"),
        ({"texts": ["a"], "verdict": {"status": "valid"}, "alternatives": [[]]}, "another number of holes"),
        ({"step": "one"}, "no Draft of Palimpsest"),
        ({"error": {"message": SENTENCE}}, SENTENCE),
    ],
)
def test_an_answer_that_is_none_is_an_error_that_says_so(serve, ask, fill, said):
    with pytest.raises(EndpointError, match=said):
        ask(serve(palimpsest(fill)).url).fill(request())


def test_an_answer_that_breaks_off_is_an_error(serve, ask):
    def answer(connection, path, body):
        connection.sendall(whole(plain(ENGINE)) if path == "/v1/engine" else head() + event(plain(DRAFTS[0])))

    with pytest.raises(EndpointError, match="in the middle of an answer"):
        ask(serve(answer).url, protocol="palimpsest").fill(request())


def test_a_server_that_was_loading_is_asked_again_what_it_is(serve, ask):
    told = [EngineStatus("loading"), ENGINE]

    def answer(connection, path, body):
        palimpsest(engine=told.pop(0) if path == "/v1/engine" else ENGINE)(connection, path, body)

    asked = ask(serve(answer).url)
    asked.fill(request())
    assert (asked.engine.status().state, asked.engine.status().model) == ("ready", "model")


def test_cancelling_closes_the_connection(serve, ask):
    def answer(connection, path, body):
        if path == "/v1/engine":
            connection.sendall(whole(plain(ENGINE)))
            return
        connection.sendall(head() + event(plain(DRAFTS[0])))
        while True:
            connection.sendall(b": ping\n\n")

    wire = serve(answer)
    asked = ask(wire.url, None, protocol="palimpsest")
    job = asked.engine.submit(request(), lambda _: job_cancel())

    def job_cancel():
        job.cancel()

    with pytest.raises(FillCancelled):
        job.future.result(10)
    assert wire.closed.wait(20)  # ends a test that would hang


def test_the_values_that_cross_as_json_are_those_that_cross_as_bytes():
    assert msgspec.convert(plain(FILL), Fill) == msgspec.msgpack.decode(to_bytes(FILL), type=Fill) == FILL
