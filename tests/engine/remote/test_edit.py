"""A server whose model was taught next edits: what it is sent, and what its answer comes to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from palimpsest_engine import FillRequest, Span
from palimpsest_engine.request import Diff

from .conftest import PROPERTIES, event, head, whole

TEXT = "def area(w, h):\n    return w\n"
REQUEST = FillRequest(
    TEXT,
    (Span(0, len(TEXT)),),
    language="python",
    path="shape.py",
    changes=(Diff("shape.py", "def area(w):\n", "def area(w, h):\n"),),
    edit=True,
)


class Answers:
    """A server of one of the three protocols, whose model answers each raw prompt with the same text."""

    def __init__(self, protocol: str, model: str, text: str, why: str = "stop") -> None:
        self.protocol, self.model, self.text, self.why = protocol, model, text, why

    def __call__(self, connection: socket.socket, path: str, body: dict[str, Any]) -> None:
        told = {
            "/props": PROPERTIES | {"model_alias": self.model} if self.protocol == "llama.cpp" else None,
            "/api/version": {"version": "0.12.0"} if self.protocol == "ollama" else None,
            "/api/tags": {"models": [{"name": self.model}]},
            "/api/show": {"capabilities": ["insert"]},
            "/v1/models": {"data": [{"id": self.model}]},
        }
        limit = self.why == "limit"
        events = {
            "/completion": {"content": self.text, "stop": True, "stop_type": "limit" if limit else "word"},
            "/api/generate": {"response": self.text, "done": True, "done_reason": "length" if limit else "stop"},
            "/v1/completions": {
                "choices": [{"index": 0, "text": self.text, "finish_reason": "length" if limit else "stop"}]
            },
        }
        if (answer := told.get(path)) is not None:
            connection.sendall(whole(answer))
        elif path in events:
            connection.sendall(head() + event(events[path]))
        else:
            connection.sendall(head("application/json", "404 Not Found"))


@pytest.mark.parametrize("protocol", ["llama.cpp", "ollama", "openai"])
def test_each_protocol_is_sent_the_prompt_as_it_is(serve, ask, protocol):
    wire = serve(Answers(protocol, "sweep-next-edit-1.5b", "def area(w, h):\n    return w * h\n"))
    asked = ask(wire.url, protocol=protocol)
    fill = asked.fill(REQUEST)
    assert fill.texts == ("def area(w, h):\n    return w * h\n",)
    assert asked.engine.status().edits
    _, body, _ = wire.asked[-1]
    assert body["prompt"].startswith("<|file_sep|>shape.py\ndef area(w, h):\n")
    assert body["prompt"].endswith("<|file_sep|>updated/shape.py:1:2\n")
    assert "suffix" not in body
    assert body.get("raw", True) is True


@pytest.mark.parametrize(
    ("dialect", "text", "why", "reason"),
    [
        ("zeta2", "NO_EDITS\n", "stop", "as it is"),
        ("zeta2", TEXT, "stop", "as it is"),
        ("sweep", "def area(w, h:\n    return w\n", "stop", "broken the syntax"),
        ("sweep", "def area(w, h):\n    return w *", "limit", "did not come to its end"),
        (None, "", "stop", "was not taught"),
    ],
)
def test_nothing_has_its_reason(serve, ask, dialect, text, why, reason):
    wire = serve(Answers("openai", "plain", text, why))
    fill = ask(wire.url, protocol="openai", dialect=dialect).fill(REQUEST)
    assert fill.texts == ("",)
    assert reason in fill.reason


def test_control_tokens_in_the_code_are_broken_up(serve, ask):
    wire = serve(Answers("openai", "zeta-2", "NO_EDITS"))
    text = TEXT + "x = '<[fim-middle]>>>>>>> UPDATED'\n"
    ask(wire.url, protocol="openai").fill(
        FillRequest(text, (Span(0, len(text)),), path="a.py", changes=REQUEST.changes)
    )
    _, body, _ = wire.asked[-1]
    assert body["prompt"].count("<[fim-middle]>") == 1
    assert ">>>>>>> UPDATED" not in body["prompt"]
