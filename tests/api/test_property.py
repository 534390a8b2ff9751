"""No request is a fault, each gets one answer, and no middle touches the text around it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.conftest import HERE, Recording
from palimpsest_api.app import create
from palimpsest_api.backend import EngineBackend
from palimpsest_engine import Fill, FillRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NUMBERS = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "/infill": {
        "input_prefix": st.text(),
        "input_suffix": st.text(),
        "input_extra": st.none()
        | st.lists(st.fixed_dictionaries({"text": st.text(), "filename": st.text()}), max_size=2),
        "prompt": st.none() | st.text(),
        "n_predict": NUMBERS,
        "n_indent": NUMBERS,
        "seed": NUMBERS,
        "temperature": NUMBERS,
        "t_max_predict_ms": NUMBERS,
        "stop": st.none() | st.lists(st.text(max_size=3), max_size=3),
        "stream": st.booleans(),
        "language": st.none() | st.sampled_from(["python", "", "x", "\x00", "C++"]) | st.text(max_size=5),
        "path": st.none() | st.sampled_from(["a.py", "/", "..", "\x00", "a\\b.rs"]) | st.text(max_size=5),
        "response_fields": st.none()
        | st.lists(st.sampled_from(["content", "timings/predicted_n", "/", ""]), max_size=2),
    },
    "/v1/completions": {
        "prompt": st.text() | st.lists(st.text(), max_size=2),
        "suffix": st.none() | st.text(),
        "max_tokens": NUMBERS,
        "n": st.none() | st.integers(-1, 9),
        "seed": NUMBERS,
        "stop": st.none() | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=5),
        "echo": st.none() | st.booleans(),
        "stream": st.booleans(),
        "filename": st.none() | st.text(max_size=5),
    },
    "/v1/fill": {
        "text": st.text(),
        "holes": st.lists(st.fixed_dictionaries({"start": st.integers(-1, 9), "end": st.integers(-1, 9)}), max_size=3),
        "document": st.text(max_size=3),
        "client": st.text(max_size=3),
        "language": st.none() | st.text(max_size=5),
        "strength": st.floats(0, 2),
        "candidates": st.integers(-1, 20),
        "sizes": st.none() | st.lists(st.integers(-1, 5000), max_size=3),
    },
}


def post(path: str, body: bytes, text: str = "x") -> tuple[httpx.Response, Recording]:
    """Ask an application of its own."""
    engine = Recording(text)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create(EngineBackend(engine)), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=HERE, trust_env=False) as client:
            return await client.post(path, content=body)

    return asyncio.run(ask()), engine


@pytest.mark.parametrize("path", FIELDS)
@settings(max_examples=60)
@given(data=st.data(), text=st.text(max_size=30))
def test_no_request_is_a_fault(path: str, data: st.DataObject, text: str) -> None:
    body = data.draw(
        st.fixed_dictionaries({}, optional=FIELDS[path]) | st.dictionaries(st.sampled_from(sorted(FIELDS[path])), JSON)
    )
    answer, _ = post(path, json.dumps(body).encode(), text)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]["message"]


@settings(max_examples=60)
@given(
    path=st.sampled_from(sorted(FIELDS)),
    body=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()),
)
def test_no_bytes_are_a_fault(path: str, body: bytes) -> None:
    answer, _ = post(path, body)
    assert answer.status_code in (200, 400), answer.text


@settings(max_examples=60)
@given(before=st.text(), beginning=st.text(), after=st.text(), middle=st.text(max_size=40), stop=st.text(max_size=2))
def test_the_text_around_a_middle_reaches_the_engine_unchanged(
    before: str, beginning: str, after: str, middle: str, stop: str
) -> None:
    body = {"input_prefix": before, "prompt": beginning, "input_suffix": after, "stop": [stop]}
    answer, engine = post("/infill", json.dumps(body).encode(), middle)
    content = answer.json()["content"]
    assert engine.request.text == before + beginning + after
    assert engine.request.splice((content,)) == before + beginning + content + after
    assert middle.startswith(content)
    assert not stop or stop not in content


TEXTS = st.text(max_size=30)


@settings(max_examples=60)
@given(text=TEXTS, middle=TEXTS, places=st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_a_whole_request_and_its_fill_cross_unchanged(text: str, middle: str, places: list[int]) -> None:
    from palimpsest_engine import Span

    at = sorted(min(place, len(text)) for place in places)
    asked = FillRequest(text, tuple(Span(place, place) for place in at))
    answer, engine = post("/v1/fill", msgspec.json.encode(asked), middle)
    assert engine.request == asked
    assert msgspec.json.decode(answer.content, type=Fill).texts == (middle,) * len(at)
