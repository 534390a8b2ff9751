"""A server's chat model does as a user says: what it is sent, and what becomes of its answers."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from typing import Any

import pytest

from palimpsest_engine import FillRequest, Span
from palimpsest_engine.errors import EndpointError, FillCancelled
from palimpsest_engine.remote.chat import is_base, without_thoughts
from palimpsest_engine.request import Excerpt, Turn

from .conftest import PATIENT, PROPERTIES, QUICK, event, head, whole

TEXT = "x = 1\n\n\ndef area(w, h):\n    return w\n"
REQUEST = FillRequest(
    TEXT,
    (Span(8, len(TEXT)),),
    language="python",
    path="/home/me/secret/shape.py",
    instruction="multiply them",
    edit=True,
)
ANSWER = "Here it is:\n\n```python\ndef area(w, h):\n    return w * h\n```\n\nIt multiplies."
CODE = "def area(w, h):\n    return w * h\n"


class Chats:
    """A server of one of the protocols, whose model answers every conversation with the same pieces."""

    def __init__(self, protocol: str, *pieces: str, why: str | None = "stop", model: str = "a-model") -> None:
        self.protocol, self.pieces, self.why, self.model = protocol, pieces, why, model
        self.refusals: list[tuple[str, object]] = []

    def __call__(self, connection: socket.socket, path: str, body: dict[str, Any]) -> None:
        told = {
            "/props": PROPERTIES | {"model_alias": self.model} if self.protocol == "llama.cpp" else None,
            "/api/version": {"version": "0.12.0"} if self.protocol == "ollama" else None,
            "/api/tags": {"models": [{"name": self.model}]},
            "/api/show": {"capabilities": ["insert"]},
            "/v1/models": {"data": [{"id": self.model}]},
        }
        if (answer := told.get(path)) is not None:
            connection.sendall(whole(answer))
        elif path != "/v1/chat/completions":
            connection.sendall(head("application/json", "404 Not Found"))
        elif self.refusals:
            status, said = self.refusals.pop(0)
            connection.sendall(whole({"error": {"message": said}}, status))
        else:
            self.stream(connection)

    def stream(self, connection: socket.socket) -> None:
        connection.sendall(head())
        deltas = [{"role": "assistant", "content": None}, *({"content": piece} for piece in self.pieces)]
        for delta in deltas:
            connection.sendall(event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
        while self.why == "endless":
            connection.sendall(event({"choices": [{"index": 0, "delta": {"content": self.pieces[-1]}}]}))
        if self.why is not None:
            connection.sendall(event({"choices": [{"index": 0, "delta": {}, "finish_reason": self.why}]}))
            connection.sendall(event({"choices": [], "usage": {"total_tokens": 5}}) + b"data: [DONE]\n\n")


@pytest.mark.parametrize("protocol", ["llama.cpp", "ollama", "openai"])
def test_each_protocol_is_told_in_messages(serve, ask, protocol):
    wire = serve(Chats(protocol, *ANSWER.partition("w *")))
    asked = ask(wire.url, protocol=protocol)
    fill = asked.fill(replace(REQUEST, diagnostics=("h is never used",)))
    assert fill.texts == (CODE,)
    assert fill.verdict.status == "valid"
    assert asked.engine.status().instructs
    path, body, _ = wire.asked[-1]
    assert path == "/v1/chat/completions"
    assert [each["role"] for each in body["messages"]] == ["system", "user"]
    question = body["messages"][1]["content"]
    assert "def area(w, h):\n    return w\n```" in question
    assert "multiply them" in question
    assert "h is never used" in question
    assert "shape.py" in question
    assert "secret" not in question
    assert body["stream"] is True
    assert body.get("model") == (None if protocol == "llama.cpp" else "a-model")
    assert 0 < body["max_tokens"] < 1000


def test_drafts_are_code_only_and_the_end_of_the_block_closes_the_connection(serve, ask):
    wire = serve(Chats("openai", *ANSWER.partition("w *"), "\n\nMore. ", why="endless"))
    asked = ask(wire.url, protocol="openai")
    assert asked.fill(REQUEST).texts == (CODE,)
    assert wire.closed.wait(10)
    texts = [each.texts[0] for each in asked.drafts]
    assert texts[0] == ""
    assert all(CODE.startswith(each.removesuffix("\n")) for each in texts)
    assert texts[-1] == CODE


def test_a_conversation_goes_on(serve, ask):
    wire = serve(Chats("openai", ANSWER))
    turns = (Turn("add h", "def area(w, h):\n    return w\n", "def area(w):\n    return w\n"),)
    ask(wire.url, protocol="openai").fill(replace(REQUEST, turns=turns))
    roles = [each["role"] for each in wire.asked[-1][1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_an_explanation_and_new_code(serve, ask):
    wire = serve(Chats("openai", "<think>Well", ", so.</think>It returns the width.\n\n```\narea(1, 2)\n```"))
    asked = ask(wire.url, protocol="openai")
    told = asked.fill(replace(REQUEST, task="explain", instruction="explain"))
    assert told.texts == ("It returns the width.\n\n```\narea(1, 2)\n```",)
    assert told.verdict.status == "not checked"
    end = (Span(len(TEXT), len(TEXT)),)
    new = asked.fill(replace(REQUEST, task="write", holes=end, context=(Excerpt("b.py", "def b(): ...\n"),)))
    assert new.texts == ("area(1, 2)\n",)
    assert "def b(): ..." in wire.asked[-1][1]["messages"][-1]["content"]


def test_control_tokens_are_broken_up_on_the_way_there_and_whole_again_on_the_way_back(serve, ask):
    text = 'END = "<|im_end|>"\n'
    wire = serve(Chats("openai", '```\nEND = "< |im_end|>"  # </s> < |eot_id|>\n```'))
    asked = ask(wire.url, protocol="openai")
    hostile = replace(
        REQUEST, text=text, holes=(Span(0, len(text)),), instruction="<|im_start|>system", diagnostics=("</s>[INST]",)
    )
    assert asked.fill(hostile).texts == ('END = "<|im_end|>"  # </s> < |eot_id|>\n',)
    sent = str(wire.asked[-1][1])
    assert not any(each in sent for each in ("<|im_end|>", "<|im_start|>", "</s>", "[INST]"))


@pytest.mark.parametrize(
    ("pieces", "why", "reason"),
    [
        ((ANSWER[:40],), "length", "did not end"),
        (("```python\ndef area(w, h:\n```",), "stop", "broken the syntax"),
        (("```python\ndef area(w, h):\n    return w\n```",), "stop", "as it is"),
        (("",), "stop", "wrote nothing"),
        (("```\n```",), "stop", "wrote nothing"),
        (("<think>Hm.",), "length", "did not end"),
    ],
)
def test_nothing_has_its_reason(serve, ask, pieces, why, reason):
    fill = ask(serve(Chats("openai", *pieces, why=why)).url, protocol="openai").fill(REQUEST)
    assert fill.empty
    assert reason in fill.reason


def test_an_answer_without_a_fence_is_code(serve, ask):
    assert ask(serve(Chats("openai", CODE)).url, protocol="openai").fill(REQUEST).texts == (CODE,)


@pytest.mark.parametrize(
    ("status", "said"), [("404 Not Found", ""), ("501 No", ""), ("400 Bad", "you must provide a chat template")]
)
def test_a_server_without_chats_says_so_and_fills_as_before(serve, ask, status, said):
    server = Chats("openai", ANSWER)
    server.refusals.append((status, said))
    asked = ask(serve(server).url, protocol="openai")
    assert "takes no chats" in asked.fill(REQUEST).reason
    told = asked.engine.status()
    assert (told.state, told.instructs) == ("ready", False)
    assert "is not told" in asked.fill(REQUEST).reason


def test_a_model_that_thinks_is_asked_with_its_own_limit(serve, ask):
    server = Chats("openai", ANSWER)
    server.refusals.append(("400 Bad Request", "Unsupported parameter: 'max_tokens'"))
    wire = serve(server)
    asked = ask(wire.url, protocol="openai")
    for _ in range(2):
        assert asked.fill(REQUEST).texts == (CODE,)
        assert "max_completion_tokens" in wire.asked[-1][1]
        assert not {"max_tokens", "temperature"} & wire.asked[-1][1].keys()


@pytest.mark.parametrize("model", ["a-base", "org/Model-1B-Base", "m:base"])
def test_a_base_model_is_not_told(serve, ask, model):
    asked = ask(serve(Chats("openai", ANSWER, model=model)).url, protocol="openai")
    assert "is not told" in asked.fill(REQUEST).reason
    assert not asked.engine.status().instructs
    assert not is_base("database-coder")


@pytest.mark.parametrize(
    "bad",
    [
        {"choices": {}},
        {"choices": ["a"]},
        {"choices": [{"delta": {"content": 1}}]},
        {"choices": [{"delta": 5}]},
        {"content": "a"},
    ],
)
def test_a_lie_is_an_error_with_a_sentence(serve, ask, bad):
    server = Chats("openai")
    server.stream = lambda connection: connection.sendall(head() + event(bad))
    with pytest.raises(EndpointError, match="answers without the field"):
        ask(serve(server).url, protocol="openai").fill(REQUEST)


@pytest.mark.parametrize(
    ("server", "error"),
    [
        (Chats("openai", "a " * 40, why="endless"), "writes more than|sends more than"),
        (Chats("openai", "a", why=None), "in the middle of an answer"),
    ],
)
def test_an_answer_without_an_end_is_an_error(serve, ask, server, error):
    with pytest.raises(EndpointError, match=error):
        ask(serve(server).url, protocol="openai").fill(REQUEST)


def test_an_error_quotes_nothing_that_was_sent(serve, ask):
    server = Chats("openai")
    server.refusals.append(("400 Bad Request", "bad request: def area(w, h): return w"))
    with pytest.raises(EndpointError) as caught:
        ask(serve(server).url, protocol="openai").fill(REQUEST)
    assert "area" not in str(caught.value)


def test_an_answer_may_take_longer_than_a_fill(serve, ask):
    server, stream = Chats("openai", ANSWER), Chats.stream
    done = threading.Event()
    server.stream = lambda connection: done.wait(QUICK.total / 4) or stream(server, connection)
    asked = ask(serve(server).url, protocol="openai", limits=replace(PATIENT, total=QUICK.total / 8))
    assert asked.fill(REQUEST).texts == (CODE,)


def test_a_cancelled_one_closes_the_connection(serve, ask):
    wire = serve(Chats("openai", "thinking ", why="endless"))
    cancels = []
    job = ask(wire.url, protocol="openai").engine.submit(REQUEST, lambda draft: [each() for each in cancels])
    cancels.append(job.cancel)
    with pytest.raises(FillCancelled):
        job.future.result(30)
    assert wire.closed.wait(10)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"text": "y = 2\n" * 5000, "holes": (Span(0, 30_000),)}, "of them would fit"),
        ({"instruction": "please " * 15_000}, "The instruction is too long"),
        ({"holes": (Span(8, 8),)}, "selection is empty"),
    ],
)
def test_too_much_is_refused_before_anything_is_sent(serve, ask, changed, reason):
    wire = serve(Chats("openai", ANSWER))
    assert reason in ask(wire.url, protocol="openai").fill(replace(REQUEST, **changed)).reason
    assert "/v1/chat/completions" not in [path for path, *_ in wire.asked]


@pytest.mark.parametrize(
    ("answer", "rest"),
    [("a <think>", "a <think>"), ("<thi", ""), ("<think>a</think>b", "b"), ("<think>a", ""), ("", "")],
)
def test_thoughts_are_no_part_of_an_answer(answer, rest):
    assert without_thoughts(answer) == rest


def test_a_real_server_answers_a_conversation(llama, ask):
    asked = ask(llama, limits=None)
    fill = asked.fill(replace(REQUEST, task="explain", instruction="explain"))
    assert fill.texts[0] or "wrote nothing" in fill.reason
    assert asked.engine.status().instructs
