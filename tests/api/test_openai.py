"""OpenAI's routes: what is asked becomes a `FillRequest`, and what is answered has OpenAI's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.conftest import Client, Recording, events
from palimpsest_engine import EngineStatus, Span


async def test_prompt_and_suffix_are_the_two_sides(client: Client) -> None:
    engine = Recording("1")
    sent = {"model": "any", "prompt": "a = ", "suffix": "\nb", "user": "me", "top_p": 0.9, "logit_bias": {}}
    answer = (await client(engine).post("/v1/completions", json=sent)).json()
    assert (engine.request.text, engine.request.holes) == ("a = \nb", (Span(4, 4),))
    assert answer["object"] == "text_completion"
    assert answer["model"] == "scripted"
    assert answer["choices"] == [{"index": 0, "text": "1", "logprobs": None, "finish_reason": "stop"}]


@pytest.mark.parametrize(
    ("sent", "texts", "why"),
    [
        ({}, ["one two"], "stop"),
        ({"n": 2}, ["one two", "three"], "stop"),
        ({"n": 8}, ["one two", "three"], "stop"),
        ({"max_tokens": 1}, ["one "], "length"),
        ({"max_tokens": 0}, [""], "length"),
        ({"stop": " "}, ["one"], "stop"),
        ({"stop": ["two", "n"]}, ["o"], "stop"),
        ({"echo": True}, ["x = one two"], "stop"),
        ({"echo": True, "n": 2}, ["x = one two", "x = three"], "stop"),
        ({"n": None, "stop": None, "echo": None, "suffix": None}, ["one two"], "stop"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_choices_are_what_was_asked_for(
    client: Client, sent: dict[str, Any], texts: list[str], why: str, stream: bool
) -> None:
    asking = client(Recording("one two", alternatives=("three",)))
    answer = await asking.post("/v1/completions", json={"prompt": "x = ", "stream": stream, **sent})
    if not stream:
        choices = answer.json()["choices"]
        assert [each["text"] for each in choices] == texts
        assert choices[0]["finish_reason"] == why
        return
    *pieces, last, done = events(answer.text)
    assert done == "[DONE]"
    assert [json.loads(each)["choices"][0]["text"] for each in pieces] == texts
    assert json.loads(last)["choices"][0]["finish_reason"] == why
    assert len({json.loads(each)["id"] for each in (*pieces, last)}) == 1


async def test_several_middles_are_asked_for_at_once(client: Client) -> None:
    engine = Recording()
    await client(engine).post("/v1/completions", json={"prompt": "", "n": 3})
    assert engine.request.candidates == 3


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "prompt"),
        ({"prompt": ["a", "b"]}, "one prompt"),
        ({"prompt": []}, "one prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": "", "n": 0}, "n is from 1"),
        ({"prompt": "", "n": 9}, "n is from 1"),
        ({"prompt": "", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "", "stop": ["x"] * 17}, "stops"),
        ({"prompt": "", "stream": "yes"}, "stream"),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused_in_openais_shape(client: Client, body: Any, says: str) -> None:
    answer = await client(Recording()).post("/v1/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert says in error["message"]


async def test_a_prompt_in_the_dialect_of_another_model_is_read(client: Client) -> None:
    engine = Recording("1")
    sent = {"prompt": "<fim_prefix>a = <fim_suffix>\nb<fim_middle>", "echo": True}
    answer = (await client(engine).post("/v1/completions", json=sent)).json()
    assert engine.request.text == "a = \nb"
    assert answer["choices"][0]["text"] == sent["prompt"] + "1"


async def test_the_model_that_a_request_had_loaded_is_named(client: Client) -> None:
    class Sleeping(Recording):
        def status(self) -> EngineStatus:
            return super().status() if self.requests else EngineStatus("starting")

    assert (await client(Sleeping()).post("/v1/completions", json={"prompt": ""})).json()["model"] == "scripted"
    assert (await client(Sleeping()).post("/completion", json={"prompt": ""})).json()["model"] == "scripted"
    assert (await client(Sleeping()).get("/v1/models")).json()["data"] == []


async def test_there_is_one_model(client: Client) -> None:
    [model] = (await client(Recording()).get("/v1/models")).json()["data"]
    assert (model["id"], model["object"], model["owned_by"]) == ("scripted", "model", "palimpsest")


async def test_errors_of_the_engine_are_answered_before_a_stream_begins(client: Client) -> None:
    from palimpsest_engine import OutOfMemory

    asking = client(Recording(error=OutOfMemory("It needs 50 GB")))
    answer = await asking.post("/v1/completions", json={"prompt": "", "stream": True})
    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "It needs 50 GB.")


async def test_zed_can_read_the_answer(client: Client) -> None:
    """As in Zed's `fim.rs`, `open_ai_compatible.rs` and `RawCompletionResponse`, which has no field that may be absent."""
    stops = ["<|endoftext|>", "<|file_separator|>", "<|fim_pad|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]
    stops += ["<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<PRE>", "<SUF>", "<MID>", "[PREFIX]", "[SUFFIX]"]
    prompt = "<|fim_prefix|>a = <|fim_suffix|>\nb<|fim_middle|>"
    engine = Recording("1")
    sent = {"model": "any", "prompt": prompt, "max_tokens": 128, "stop": stops}
    answer = (await client(engine).post("/v1/completions?language=python", json=sent)).json()
    assert (engine.request.text, engine.request.holes) == ("a = \nb", (Span(4, 4),))
    assert engine.request.language == "python"
    strings, counts = ("id", "object", "model"), ("prompt_tokens", "completion_tokens", "total_tokens")
    assert all(isinstance(answer[each], str) for each in strings)
    assert isinstance(answer["created"], int)
    assert all(isinstance(answer["usage"][each], int) for each in counts)
    assert answer["choices"][0]["text"] == "1"
