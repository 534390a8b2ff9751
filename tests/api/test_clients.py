"""OpenAI's own package as the client, as its users call it; skipped where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.conftest import Recording, Served, serving
from palimpsest_api.guard import holders_of
from palimpsest_engine import OutOfMemory

openai = pytest.importorskip("openai", reason="the extra editors is not installed")
SECRET = "a-token-of-twenty-signs"


@pytest.fixture
def engine() -> Recording:
    return Recording("width * height")


@pytest.fixture
def served(engine: Recording) -> Iterator[Served]:
    with serving(engine, recognise=holders_of(SECRET)) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=SECRET, max_retries=0) as found:
        yield found


SENT = {"model": "any", "prompt": "def area(width, height):\n    return ", "suffix": "\n"}


def test_a_completion_is_parsed(client: openai.OpenAI, engine: Recording) -> None:
    found = client.completions.create(**SENT, max_tokens=64, stop=["\n\n"], seed=1, extra_body={"language": "python"})
    assert (found.choices[0].text, found.choices[0].finish_reason) == ("width * height", "stop")
    assert found.model == "scripted"
    assert (engine.request.language, engine.request.seed) == ("python", 1)


def test_a_stream_is_parsed(client: openai.OpenAI) -> None:
    with client.completions.create(**SENT, stream=True) as stream:
        chunks = list(stream)
    assert "".join(each.choices[0].text for each in chunks) == "width * height"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [each.id for each in client.models.list()] == ["scripted"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another")


def test_errors_are_of_their_kinds(client: openai.OpenAI, engine: Recording, served: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="n is from 1 to 8"):
        client.completions.create(**SENT, n=100)
    engine.error = OutOfMemory("It needs 50 GB, and 16 GB are free")
    with pytest.raises(openai.InternalServerError, match="It needs 50 GB"):
        client.completions.create(**SENT)
    with (
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong", max_retries=0) as other,
        pytest.raises(openai.AuthenticationError, match="A token is needed"),
    ):
        other.models.list()


async def test_the_asynchronous_client_that_is_cancelled_ends_the_fill(served: Served, engine: Recording) -> None:
    import asyncio

    engine.steps, engine.step_seconds = 5000, 0.01
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=SECRET, max_retries=0) as asking:
        task = asyncio.create_task(asking.completions.create(**SENT))
        while not engine.running:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while engine.running:
            await asyncio.sleep(0.01)
    assert engine.cancelled == 1
