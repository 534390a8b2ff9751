"""`/v1/fill`: a whole request goes in, drafts and the fill come out, as the values of the contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from api.conftest import Client, Recording, Unhurried
from palimpsest_engine import Draft, Excerpt, Fill, FillRequest, LanguageUnknown, Span
from palimpsest_engine.messages import error_of

ASKED = FillRequest(
    "a = 1\nb = \U0001f600\n",
    (Span(4, 5), Span(10, 11)),
    document="file:///a.py",
    client="window 1",
    language="python",
    path="a.py",
    seed=3,
    strength=0.5,
    sizes=(4, 8),
    max_lines=2,
    max_steps=5,
    context=(Excerpt("b.py", "x"),),
    candidates=2,
    tidy=True,
    edit=True,
    cursor=2,
)


def of(request: FillRequest) -> bytes:
    return msgspec.json.encode(request)


async def test_everything_but_who_asks_reaches_the_engine(client: Client) -> None:
    engine = Recording("2")
    answer = await client(engine).post("/v1/fill", content=of(ASKED))
    fill = msgspec.json.decode(answer.content, type=Fill)
    assert fill.texts == ("2", "2")
    assert replace(engine.request, client=ASKED.client, document=ASKED.document) == ASKED
    assert engine.request.client == ""


async def test_windows_with_the_same_document_are_told_apart_and_whose_turn_it_is_is_not_theirs_to_say(
    client: Client,
) -> None:
    engine = Recording()
    asking = client(engine)
    for window in ("1", "2"):
        await asking.post("/v1/fill", content=of(replace(ASKED, client=window)))
    first, second = (each.identity for each in engine.requests)
    assert first != second
    assert first[0] == second[0] == ""


async def test_drafts_come_as_events_and_then_the_fill(client: Client) -> None:
    asking = client(Unhurried("pass", steps=3, step_seconds=0.01))
    answer = await asking.post("/v1/fill", content=of(ASKED), headers={"Accept": "text/event-stream"})
    *drafts, fill = [block.split("\n", 1) for block in answer.text.strip().split("\n\n")]
    assert drafts
    for name, data in drafts:
        assert name == "event: draft"
        assert len(msgspec.json.decode(data.removeprefix("data: "), type=Draft).texts) == 2
    assert fill[0] == "event: fill"
    assert msgspec.json.decode(fill[1].removeprefix("data: "), type=Fill).texts == ("pass", "pass")


async def test_a_client_makes_the_same_error_of_an_answer(client: Client) -> None:
    answer = await client(Recording(error=LanguageUnknown("This is Lua."))).post("/v1/fill", content=of(ASKED))
    assert answer.status_code == 422
    error = error_of(**answer.json()["error"])
    assert isinstance(error, LanguageUnknown)
    assert str(error) == "This is Lua."


@pytest.mark.parametrize(
    "changed",
    [
        {"holes": []},
        {"holes": [{"start": 5, "end": 4}]},
        {"holes": [{"start": 0, "end": 99}]},
        {"holes": [{"start": number, "end": number} for number in range(8)] * 9},
        {"holes": [{"start": 0, "end": 0}] * 65},
        {"strength": 0},
        {"strength": 1.5},
        {"candidates": 0},
        {"candidates": 1_000_000},
        {"sizes": [0]},
        {"sizes": [-1, 4]},
        {"sizes": [10**9]},
        {"sizes": list(range(1, 99))},
        {"max_steps": 0},
        {"max_steps": 10**9},
        {"max_lines": -1},
        {"seed": -1},
        {"seed": 2**64},
        {"cursor": -1},
        {"cursor": 10**6},
        {"text": None},
        {"context": [{"title": 1, "text": ""}]},
    ],
    ids=str,
)
async def test_numbers_that_no_engine_should_be_asked_for_are_refused(client: Client, changed: dict[str, Any]) -> None:
    engine = Recording()
    body = msgspec.json.decode(of(ASKED)) | changed
    answer = await client(engine).post("/v1/fill", json=body)
    assert (answer.status_code, answer.json()["error"]["kind"], engine.requests) == (400, "ValueError", [])


async def test_two_users_cannot_share_a_document_by_its_name(client: Client) -> None:
    engine = Recording()
    asking = client(engine, recognise={"one": "ann", "two": "bob"}.get)
    for token in ("one", "two"):
        answer = await asking.post("/v1/fill", content=of(ASKED), headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
    first, second = engine.requests
    assert first.identity != second.identity
    assert first.document != second.document
