"""A client that goes away ends its work, and a server that ends says so to everybody."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.conftest import Held, Recording, events, infill, serving
from editors.editor import until

HOLE = {"text": "ab", "holes": [{"start": 1, "end": 1}]}
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/infill", infill()),
    ("/infill", infill(stream=True)),
    ("/completion", {"prompt": "a", "stream": True}),
    ("/v1/completions", {"prompt": "a"}),
    ("/v1/completions", {"prompt": "a", "stream": True}),
    ("/v1/fill", HOLE),
]


def slow(**more: Any) -> Recording:
    return Recording("pass", steps=2000, step_seconds=0.01, **more)


@pytest.mark.parametrize(("path", "body"), BODIES, ids=str)
def test_a_client_that_goes_away_ends_its_fill_within_a_step(path: str, body: dict[str, Any]) -> None:
    engine = slow()
    with serving(engine) as served:
        data = json.dumps(body).encode()
        with served.connected() as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data)
            until(lambda: engine.running)
        until(lambda: not engine.running)
        assert engine.cancelled == 1
        seen = httpx.get(f"{served.url}/metrics", timeout=60, trust_env=False).text
        assert f'palimpsest_requests_total{{outcome="cancelled",route="{path}"}} 1.0' in seen


@pytest.mark.parametrize("sent", ["", '{"input_prefix"', json.dumps(infill())])
def test_a_client_that_goes_away_is_no_fault_whenever_it_does(sent: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = slow()
    with serving(engine) as served:
        with served.connected() as connection:
            head = "POST /infill HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
            connection.sendall(f"{head}{len(json.dumps(infill()))}\r\n\r\n{sent}".encode())
            until(lambda: engine.running or not sent.endswith("}"))
        until(lambda: 'route="/infill"' in httpx.get(f"{served.url}/metrics", timeout=60, trust_env=False).text)
    assert [each.getMessage() for each in caplog.records if each.levelname in ("WARNING", "ERROR")] == []


def test_a_stream_with_nothing_to_say_shows_that_it_lives() -> None:
    engine = Held()
    with serving(engine) as served:
        body = infill(stream=True)
        with httpx.stream("POST", f"{served.url}/infill", json=body, timeout=30, trust_env=False) as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": still at work"
            engine.close()
            rest = "\n".join(lines)
        assert json.loads(events(rest)[0])["content"] == "x"


@pytest.mark.parametrize(("path", "body"), BODIES, ids=str)
def test_a_server_that_ends_answers_everybody_with_an_error(path: str, body: dict[str, Any]) -> None:
    engine = slow()
    with serving(engine) as served:
        answers: list[httpx.Response] = []

        def ask() -> None:
            headers = {"Accept": "text/event-stream"} if path == "/v1/fill" else {}
            answers.append(httpx.post(f"{served.url}{path}", json=body, headers=headers, timeout=30, trust_env=False))

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: engine.running)
        served.end()
        asking.join(60)
        [answer] = answers
        last = events(answer.text)[-1] if answer.status_code == 200 else answer.text
        assert "shutting down" in json.loads(last)["error"]["message"]
        assert answer.status_code == 200 or answer.headers["retry-after"] == "5"
    until(lambda: not engine.running)  # its thread may not have had its turn yet
    assert not [each for each in threading.enumerate() if each.name == "api-on-trial"]


def test_a_newer_request_for_the_same_document_ends_the_older_with_a_conflict() -> None:
    engine = slow()
    with serving(engine) as served:
        body = HOLE | {"document": "file:///a.py"}
        first: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: first.append(httpx.post(f"{served.url}/v1/fill", json=body, timeout=30, trust_env=False))
        )
        asking.start()
        until(lambda: engine.running)
        engine.steps = 1
        assert httpx.post(f"{served.url}/v1/fill", json=body, timeout=60, trust_env=False).json()["texts"] == ["pass"]
        asking.join(60)
        assert (first[0].status_code, first[0].json()["error"]["kind"]) == (409, "FillCancelled")


def test_several_requests_on_one_connection_are_answered_in_turn() -> None:
    with serving(Recording("one", "two")) as served, httpx.Client(timeout=60, trust_env=False) as client:
        texts = [client.post(f"{served.url}/infill", json=infill()).json()["content"] for _ in range(2)]
        assert texts == ["one", "two"]


def test_lines_that_are_there_when_time_is_up_are_taken() -> None:
    """The drafts of this engine count as written left to right, as those of other model families do."""

    class Writing(Recording):
        def submit(self, request: Any, on_draft: Any = None) -> Any:
            def written(draft: Any) -> None:
                texts = ["".join(piece.text for piece in hole if piece.settled) for hole in draft.holes]
                pieces = tuple((replace(draft.holes[0][0], text=text),) for text in texts)
                with suppress(RuntimeError):
                    on_draft(replace(draft, holes=pieces, written=True))

            return super().submit(request, written)

    engine = Writing("one\n    two\n    three\n    " + "four " * 400, steps=1000, step_seconds=0.005)
    with serving(engine) as served:
        sent = infill(t_max_predict_ms=1)
        answer = httpx.post(f"{served.url}/infill", json=sent, timeout=30, trust_env=False).json()
        assert answer["content"] in ("one", "one\n    two", "one\n    two\n    three")
        assert answer["stop_type"] == "limit"
        until(lambda: not engine.running)
        assert engine.cancelled == 1
