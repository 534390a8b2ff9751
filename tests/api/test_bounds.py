"""A client that sends too much, too slowly, or reads too little is dropped, and the others do not notice."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest

from api.conftest import PATIENT, SOON, Held, Recording, Served, infill, serving
from editors.editor import until
from palimpsest_engine import Fill, Verdict
from palimpsest_engine.engine import Job

HEAD = b"POST /infill HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def engine() -> Recording:
    return Recording("x")


@pytest.fixture(params=[{}])
def served(engine: Recording, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server in which the bounds that the test names are soon reached."""
    with serving(engine, replace(PATIENT, **request.param)) as found:
        yield found


def answer_to(served: Served, *parts: bytes) -> bytes:
    """Send parts, and return everything until the server closes the connection."""
    with served.connected() as connection:
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        return until_closed(connection)


def until_closed(connection: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            data += piece
    return data


def well(served: Served) -> bool:
    """Ask for a middle; return whether the server still answers. Where it is soon out of patience, ask again."""
    try:
        answer = httpx.post(f"{served.url}/infill", json=infill(), timeout=60, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and bool(answer.json()["content"] == "x")


LARGE = json.dumps(infill("x" * 5000)).encode()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([HEAD, b"Content-Length: 5064\r\n\r\n"], b"413"),
        ([HEAD, b"Content-Length: 9999999999999999999\r\n\r\n"], b"413"),
        ([HEAD, b"Transfer-Encoding: chunked\r\n\r\n1389\r\n", LARGE[:5001] + b"\r\n"], b"413"),
        ([HEAD, b"Content-Length: -1\r\n\r\n"], b"400"),
        ([HEAD, b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"], b"400"),
        ([b"POST /infill HTTP/1.1\r\n\r\n"], b"400"),
        ([b"POST /infill HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"], b"403"),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n"], b"400"),
        ([HEAD + b"X: " + b"y" * 4000], b"400"),
        ([HEAD + b"X: 1\r\n" * 1000], b"400"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_too_much_or_too_strange_a_request_is_refused(
    served: Served, engine: Recording, parts: list[bytes], status: bytes
) -> None:
    assert answer_to(served, *parts).split(b" ")[1] == status
    assert engine.requests == []
    assert well(served)


@pytest.mark.parametrize("served", [{"body_seconds": SOON}], indirect=True)
@pytest.mark.parametrize(
    "parts",
    [
        [HEAD, b"Content-Length: 100\r\n\r\n", b"{"],
        [HEAD, b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"],
    ],
    ids=["of a length", "chunked"],
)
def test_too_slow_a_request_is_refused(served: Served, engine: Recording, parts: list[bytes]) -> None:
    assert answer_to(served, *parts).split(b" ")[1] == b"408"
    assert engine.requests == []
    until(lambda: well(served))


@pytest.mark.parametrize("served", [{"head_seconds": SOON}], indirect=True)
@pytest.mark.parametrize("part", [b"", b"POST /infill HTTP/1.1\r\nHost: lo", HEAD], ids=str)
def test_a_head_that_does_not_end_ends_the_connection(served: Served, part: bytes) -> None:
    assert answer_to(served, part) == b""
    until(lambda: well(served))


@pytest.mark.parametrize(
    ("served", "rest"),
    [({"idle_seconds": 1}, b""), ({"head_seconds": 1}, b"GET /he")],
    indirect=["served"],
    ids=["idle", "half a request"],
)
def test_a_connection_with_no_whole_request_after_an_answer_is_closed(served: Served, rest: bytes) -> None:
    with answered_once(served) as connection:
        connection.sendall(rest)
        assert b"HTTP/1.1" not in until_closed(connection)
    until(lambda: well(served))


def answered_once(served: Served) -> socket.socket:
    """Return a connection with one answer. The head of a client that was kept waiting comes too late: connect again."""

    def asked() -> socket.socket | None:
        connection = served.connected()
        with suppress(ConnectionError):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if connection.recv(65536).startswith(b"HTTP/1.1 200"):
                return connection
        connection.close()
        return None

    return until(asked)


def test_connections_beyond_the_bound_are_closed(served: Served) -> None:
    held = [served.connected() for _ in range(PATIENT.connections)]
    try:
        assert answer_to(served, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
    finally:
        for each in held:
            each.close()
    until(lambda: answer_to(served, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"))


def test_requests_beyond_the_bound_are_told_to_come_again() -> None:
    engine = Held()
    with serving(engine) as served, ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(httpx.post, f"{served.url}/infill", json=infill(), timeout=30, trust_env=False)
            for _ in range(PATIENT.fills)
        ]
        until(lambda: len(engine.jobs) == PATIENT.fills)
        for path in ("/infill", "/v1/completions", "/v1/fill"):
            body = infill(text="", holes=[{"start": 0, "end": 0}], prompt="")
            answer = httpx.post(f"{served.url}{path}", json=body, timeout=60, trust_env=False)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"{served.url}/health", timeout=60, trust_env=False).status_code == 200
        engine.close()
        assert [each.result().json()["content"] for each in asked] == ["x"] * PATIENT.fills


def test_a_fill_that_takes_too_long_is_given_up() -> None:
    engine = Held()
    with serving(engine, replace(PATIENT, fill_seconds=SOON)) as served:
        answer = httpx.post(f"{served.url}/infill", json=infill(), timeout=30, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["type"]) == (504, "server_error")
        assert [job.cancelled.is_set() for job in engine.jobs] == [True]


class Flooding(Recording):
    """Shows drafts of a megabyte until it is cancelled; each waits until the one before it is on its way."""

    ended = threading.Event()

    def submit(self, request, on_draft=None) -> Job:  # type: ignore[no-untyped-def]
        from palimpsest_engine import Draft, DraftPiece

        job = Job(request)

        def play() -> None:
            draft = Draft(1, ((DraftPiece("x" * 2**20, True),),), 0.5)
            while not job.cancelled.wait(0.005):
                on_draft(draft)
            self.ended.set()
            job.future.set_result(Fill(("",), Verdict("valid")))

        threading.Thread(target=play, daemon=True).start()
        return job


def test_a_client_that_does_not_read_is_dropped_and_its_fill_ends() -> None:
    engine = Flooding()
    with serving(engine, replace(PATIENT, stalled_seconds=SOON)) as served, served.connected() as connection:
        body = json.dumps({"text": "", "holes": [{"start": 0, "end": 0}]}).encode()
        head = b"POST /v1/fill HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert engine.ended.wait(60)


BODY = json.dumps(infill()).encode()
SENT = [
    HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    HEAD + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://example.org/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%ff%00%zz?%ff=%00&language=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def damaged(chance: random.Random) -> bytes:
    """One or two requests with some bytes changed, removed or added."""
    data = bytearray(b"".join(chance.choices(SENT, k=chance.choice((1, 1, 2)))))
    for _ in range(chance.randrange(4)):
        at, more = chance.randrange(len(data)), chance.randbytes(chance.randrange(4))
        data[at : at + chance.randrange(4)] = more
    return bytes(data)


@pytest.mark.parametrize("served", [{"head_seconds": SOON, "body_seconds": SOON, "idle_seconds": 1}], indirect=True)
def test_no_bytes_on_a_connection_are_a_fault(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(0)
    for data in (*SENT, *(damaged(chance) for _ in range(200))):
        with served.connected() as connection, suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            until_closed(connection)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []
    until(lambda: well(served))
