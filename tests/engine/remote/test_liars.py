"""Each server that lies, fails or stalls costs one sentence, in time; the engine lives and tries again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from palimpsest_engine import EndpointError, FillCancelled
from palimpsest_engine.remote.transport import Limits

from .conftest import PATIENT, PROPERTIES, QUICK, TEXT, event, head, request, whole

KEY = "sk-0123456789abcdef"
SOON = 20.0  # seconds, before any limit of an exchange: what ends by then was ended
GOOD = event({"content": "width", "stop": False}) + event({"content": "", "stop": True, "stop_type": "eos"})


def sends(*parts: bytes | float) -> Callable[[socket.socket], None]:
    """Send parts one after the other, with pauses."""

    def answer(connection: socket.socket) -> None:
        for part in parts:
            if isinstance(part, bytes):
                connection.sendall(part)
            else:
                time.sleep(part)

    return answer


def forever(part: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head())
        while True:
            connection.sendall(part)
            time.sleep(pause)

    return answer


@dataclass(frozen=True)
class Lie:
    """answer: to the request for a middle. says: what the one sentence has in it. limits: what is waited for."""

    answer: Callable[[socket.socket], None]
    says: str
    endpoint: dict[str, Any] = field(default_factory=dict)
    limits: Limits = PATIENT


TOKEN = event({"content": "x", "stop": False})
LIES = {
    "broken JSON": Lie(sends(head(), b"data: {nope\n\n"), "something that is not JSON"),
    "JSON of another kind": Lie(sends(head(), b"data: [1]\n\n"), "JSON that is not an object"),
    "JSON without its end": Lie(sends(head("application/json"), b'{"content": "x"'), "not JSON"),
    "deep JSON": Lie(sends(head(), b"data: " + b"[" * 9000 + b"\n\n"), "not JSON"),
    "a field of another type": Lie(sends(head(), event({"content": 3})), "without the field content"),
    "a field that is missing": Lie(sends(head(), event({"text": "x"})), "without the field content"),
    "HTML": Lie(sends(head("text/html"), b"<html>"), "answers with text/html instead of a stream"),
    "no type": Lie(sends(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"), "nothing that has a type"),
    "gzip": Lie(sends(head(**{"Content-Encoding": "gzip"}), b"\x1f\x8b"), "compresses its answers"),
    "500": Lie(sends(whole({"error": {"message": "out of luck"}}, "500 Oops")), 'failed (500) ("out of luck").'),
    "503": Lie(sends(whole({"error": {"message": "Loading model"}}, "503 Busy")), "is not ready (503)"),
    "429": Lie(sends(whole({}, "429 Slow")), "too many requests"),
    "404": Lie(sends(head("text/plain", "404 No"), b"no"), "no such path or model (404)"),
    "400 that quotes code": Lie(
        sends(whole({"error": f"cannot read {TEXT[:30]}"}, "400 Bad")), "refuses the request (400)."
    ),
    "401 without a key": Lie(
        sends(whole({"error": "who are you"}, "401 No")), "wants a key: name it with keyEnv or keyFile"
    ),
    "401 with a key": Lie(
        sends(whole({"error": f"bad key {KEY}"}, "401 No")), "refuses the key.", {"key_env": "PALIMPSEST_TEST_KEY"}
    ),
    "a redirect": Lie(sends(head("text/plain", "302 Found", Location="http://elsewhere.example")), "not followed"),
    "an error in the middle": Lie(
        sends(head(), TOKEN, event({"error": {"message": "lost it"}})), 'middle of an answer ("lost it")'
    ),
    "an error of llama.cpp's own kind": Lie(sends(head(), b'error: {"message": "lost it"}\n\n'), "lost it"),
    "an endless stream of tokens": Lie(forever(TOKEN), "more than"),
    "an endless stream of nothing": Lie(forever(b": ping\n\n" * 100), "more than 100000 bytes"),
    "an endless stream of empty tokens": Lie(
        forever(event({"content": "", "stop": False}), 0.05), "longer than 1.5 s", limits=QUICK
    ),
    "an endless line": Lie(forever(b"data: " + b"x" * 1000), "a line of more than 10000 bytes"),
    "a huge head": Lie(sends(head(**{"X-Filler": "x" * 200_000})), "does not speak HTTP"),
    "a slow drip": Lie(forever(b":", 0.1), "took longer than 1.5 s", limits=QUICK),
    "silence": Lie(sends(head(), 3.0), "said nothing for 0.6 s", limits=QUICK),
    "silence before the head": Lie(sends(3.0), "said nothing for 0.6 s", limits=QUICK),
    "closes before the head": Lie(sends(), "closed the connection"),
    "closes in the middle": Lie(sends(head(), TOKEN), "closed the connection in the middle"),
    "closes in the middle of a line": Lie(sends(head(), TOKEN, b'data: {"con'), "not JSON"),
    "closes in the middle of a chunk": Lie(
        sends(head(**{"Transfer-Encoding": "chunked"}), b"ff\r\n" + TOKEN), "closed the connection in the middle"
    ),
    "closes before the announced length": Lie(sends(head(**{"Content-Length": "999"}), TOKEN), "closed the connection"),
    "bytes that are no UTF-8": Lie(sends(head(), b'data: {"content": "\xff\xfe"}\n\n'), "not UTF-8"),
    "nothing at all": Lie(sends(head()), "closed the connection in the middle"),
    "no HTTP": Lie(sends(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), "does not speak HTTP"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_costs_one_sentence_and_the_next_request_tries_again(name, serve, ask, monkeypatch):
    lie, honest = LIES[name], []
    monkeypatch.setenv("PALIMPSEST_TEST_KEY", KEY)

    def answer(connection, path, body):
        if path == "/props":
            connection.sendall(whole(PROPERTIES))
        elif honest:
            connection.sendall(head() + GOOD)
        else:
            lie.answer(connection)

    asked = ask(serve(answer).url, lie.limits, **lie.endpoint)
    begun = time.monotonic()
    with pytest.raises(EndpointError) as caught:
        asked.fill(request())
    assert time.monotonic() - begun < SOON
    sentence = str(caught.value)
    assert lie.says in sentence
    assert sentence[-1] in ".?"
    assert (sentence.count("\n"), len(sentence) < 300) == (0, True)
    assert not {KEY, "return", "width", "elsewhere"} & set(sentence.replace("'", " ").split())
    assert KEY not in sentence
    status = asked.engine.status()
    assert (status.state, status.reason, status.exit_code) == ("error", sentence, 24)
    honest.append(True)
    assert asked.fill(request()).texts == ("width",)
    assert asked.engine.status().state == "ready"


PROBES = {
    "HTML everywhere": (sends(head("text/html"), b"<html>"), "text/html instead of application/json"),
    "404 everywhere": (sends(head("text/plain", "404 No")), "no such path or model"),
    "a redirect everywhere": (sends(head("text/plain", "301 Moved", Location="http://x.example")), "not followed"),
    "JSON of another kind": (sends(whole([1])), "does not list its models"),
    "no model": (sends(whole({"data": []})), "has no model"),
    "several models": (sends(whole({"data": [{"id": "a"}, {"id": "b"}]})), "(a, b)"),
    "401": (sends(whole({}, "401 No")), "wants a key"),
    "503": (sends(whole({"error": {"message": "Loading model"}}, "503 No")), 'is not ready (503) ("Loading model")'),
    "silence": (sends(3.0), "0.6 s"),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_server_that_is_none_is_told_apart_at_once(name, serve, ask):
    answer, says = PROBES[name]
    asked = ask(serve(lambda connection, path, body: answer(connection)).url, QUICK if name == "silence" else PATIENT)
    with pytest.raises(EndpointError, match=says.replace("(", r"\(").replace(")", r"\)")):
        asked.fill(request())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://nosuch.invalid:8012", "The host nosuch.invalid of the endpoint has no address."),
        ("http://127.0.0.1:9", "Nothing answers at 127.0.0.1:9"),
        ("http://[::1", "not a URL"),
        ("http://user:word@127.0.0.1", "a name or password in its URL"),
        ("http://127.0.0.1/?key=1", "leave it out"),
        ("ftp://127.0.0.1", "http://"),
    ],
)
def test_a_place_where_nothing_is_costs_one_sentence(url, says, ask):
    asked = ask(url)
    for _ in range(2):
        with pytest.raises(EndpointError) as caught:
            asked.fill(request())
        assert says in str(caught.value)
        assert "word" not in str(caught.value).replace("password", "")
    assert asked.engine.status().state == "error"


def test_plain_http_to_a_server_of_tls_costs_one_sentence(serve, ask):
    wire = serve(lambda connection, path, body: connection.sendall(whole(PROPERTIES)))
    with pytest.raises(EndpointError, match=r"does not speak TLS|closed the connection|does not answer within"):
        ask(wire.url.replace("http:", "https:"), QUICK).fill(request())


def test_a_server_that_comes_up_later_answers(serve, ask):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    asked = ask(f"http://127.0.0.1:{port}")
    with pytest.raises(EndpointError, match="Nothing answers"):
        asked.fill(request())

    serve(
        lambda connection, path, body: connection.sendall(whole(PROPERTIES) if path == "/props" else head() + GOOD),
        port,
    )
    assert asked.fill(request()).texts == ("width",)


def test_a_cancelled_fill_closes_the_connection_at_once(serve, ask):
    wire = serve(
        lambda connection, path, body: (
            connection.sendall(whole(PROPERTIES)) if path == "/props" else forever(TOKEN, 0.02)(connection)
        )
    )
    asked = ask(wire.url, None)
    job = asked.engine.submit(request(max_lines=None), lambda draft: asked.drafts.append(draft))
    while len(asked.drafts) < 2:
        time.sleep(0.01)
    job.cancel()
    with pytest.raises(FillCancelled):
        job.future.result(SOON)
    assert wire.closed.wait(SOON)


@pytest.fixture
def silent() -> Iterator[Callable[[], object]]:
    """Return what says nothing until the test is over: whatever ends before did not wait for the server."""
    over = threading.Event()
    yield over.wait
    over.set()


def test_a_fill_that_waits_for_its_first_token_can_be_cancelled(serve, ask, silent):
    wire = serve(lambda connection, path, body: connection.sendall(whole(PROPERTIES)) if path == "/props" else silent())
    asked = ask(wire.url, None)
    job = asked.engine.submit(request())
    while len(wire.asked) < 2:
        time.sleep(0.01)
    job.cancel()
    with pytest.raises(FillCancelled):
        job.future.result(SOON)


def test_a_fill_that_waits_to_hear_what_the_server_is_can_be_cancelled(serve, ask, silent):
    def answer(connection, path, body):
        if len(wire.asked) == 1:
            connection.sendall(whole({}, "500 Oops"))
        else:
            silent()

    wire = serve(answer)
    asked = ask(wire.url, PATIENT, protocol="llama.cpp")
    job = asked.engine.submit(request())
    while len(wire.asked) < 2:
        time.sleep(0.01)
    job.cancel()
    with pytest.raises(FillCancelled):
        job.future.result(SOON)


def test_the_newest_request_of_a_document_wins(serve, ask):
    def answer(connection, path, body):
        if path == "/props":
            connection.sendall(whole(PROPERTIES))
        elif body["seed"] == 1:
            forever(TOKEN, 0.02)(connection)
        else:
            connection.sendall(head() + GOOD)

    wire = serve(answer)
    asked = ask(wire.url, None)
    older = asked.engine.submit(request(document="a", seed=1, max_lines=None), asked.drafts.append)
    while not asked.drafts:
        time.sleep(0.01)
    assert asked.fill(request(document="a", seed=2)).texts == ("width",)
    with pytest.raises(FillCancelled):
        older.future.result(SOON)
    assert wire.closed.wait(SOON)
