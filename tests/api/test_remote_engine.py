"""Our own engine for endpoints is a client of our own server, with either protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from api.conftest import Unhurried, serving
from editors.editor import until
from palimpsest_engine import Draft, Endpoint, EndpointError, Excerpt, Fill, FillCancelled, FillRequest, Span
from palimpsest_engine.engine import EndpointProtocol
from palimpsest_engine.runtime.remote import RemoteEngine

TEXT = "def area(width, height):\n    return \n\n\nprint(area(3, 4))\n"
AT = TEXT.index("return ") + len("return ")
ASKED = FillRequest(TEXT, (Span(AT, AT),), language="python", path="shapes.py", document="a")
SECRET = "a-token-of-twenty-signs"
# Each protocol, and a model whose name tells how it was taught to fill: our server is not asked in that way.
NAMES = ["scripted", "qwen2.5-coder-0.5b"]
PROTOCOLS: list[EndpointProtocol] = ["auto", "palimpsest", "llama.cpp", "openai"]


class Named(Unhurried):
    """An engine whose model has a name of choice."""

    model = "scripted"

    def status(self):  # type: ignore[no-untyped-def]
        return replace(super().status(), model=self.model)


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> Named:
    engine = Named("width * height")
    engine.model = request.param
    return engine


@pytest.fixture
def remote(engine: Named, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteEngine]:
    """An engine that asks the other one, through our server; the test's parameter `protocol` says how."""
    monkeypatch.setenv("KEY", SECRET)
    from palimpsest_api.guard import holders_of

    with serving(engine, recognise=holders_of(SECRET)) as served:
        found = RemoteEngine(Endpoint(served.url, key_env="KEY"))
        yield found
        found.close()


def with_protocol(remote: RemoteEngine, protocol: EndpointProtocol) -> RemoteEngine:
    return RemoteEngine(replace(remote.endpoint, protocol=protocol))


def fill(engine: RemoteEngine, request: FillRequest) -> Fill:
    drafts: list[Draft] = []
    try:
        return engine.submit(request, drafts.append).future.result(30)
    finally:
        engine.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_fill_makes_the_round_trip(remote: RemoteEngine, engine: Named, protocol: EndpointProtocol) -> None:
    found = fill(with_protocol(remote, protocol), ASKED)
    assert found.texts == ("width * height",)
    # Our own protocol brings the verdict of the engine behind it, which judges nothing here.
    assert found.verdict.status == ("valid" if protocol in ("llama.cpp", "openai") else "not checked")
    assert ASKED.splice(found.texts) == TEXT[:AT] + "width * height" + TEXT[AT:]
    asked = engine.request
    [hole] = asked.holes
    assert TEXT[:AT].startswith(asked.text[: hole.start])
    assert asked.text[hole.end :] == TEXT[AT:]


@pytest.mark.parametrize("protocol", ["llama.cpp", "openai"])
def test_excerpts_and_several_holes_make_it_too(
    remote: RemoteEngine, engine: Named, protocol: EndpointProtocol
) -> None:
    text = "a = \nb = \n"
    asked = FillRequest(text, (Span(4, 4), Span(9, 9)), language="python", context=(Excerpt("c.py", "c = 3"),))
    engine.script = ["1", "2"]
    found = fill(with_protocol(remote, protocol), asked)
    assert found.texts == ("1", "2")
    assert "a = 1\nb =" in engine.requests[-1].text
    first = engine.requests[0]
    assert first.context == (Excerpt("c.py", "c = 3"),) if protocol == "llama.cpp" else "c = 3" in first.text


def test_our_own_protocol_loses_nothing_of_an_engine(remote: RemoteEngine, engine: Named) -> None:
    drafts: list[Draft] = []
    engine.script, engine.steps, engine.step_seconds = ["1"], 3, 0.02
    asked = FillRequest(
        "a = 0\nb = \n", (Span(4, 5), Span(10, 10)), strength=0.5, context=(Excerpt("c.py", "c = 3"),), candidates=2
    )
    found = remote.submit(asked, drafts.append).future.result(30)
    assert replace(engine.request, client="", document="") == asked
    assert found.texts == ("1", "1")
    assert {len(draft.texts) for draft in drafts} == {2}
    told = remote.status()
    assert replace(told, device="none", reason="") == replace(engine.status(), state="ready")
    assert told.device.endswith("(palimpsest), none")


@pytest.mark.parametrize("protocol", ["palimpsest", "llama.cpp", "openai"])
def test_cancelling_reaches_the_engine_behind_the_server(
    remote: RemoteEngine, engine: Named, protocol: EndpointProtocol
) -> None:
    engine.steps, engine.step_seconds = 5000, 0.01
    asking = with_protocol(remote, protocol)
    job = asking.submit(ASKED)
    until(lambda: engine.running)
    job.cancel()
    with pytest.raises(FillCancelled):
        job.future.result(30)
    until(lambda: not engine.running)
    asking.close()
    assert engine.cancelled == 1


@pytest.mark.parametrize("protocol", ["palimpsest", "llama.cpp", "openai"])
def test_an_error_of_the_engine_behind_it_is_a_sentence(
    remote: RemoteEngine, engine: Named, protocol: EndpointProtocol
) -> None:
    from palimpsest_engine import CheckpointMissing

    engine.error = CheckpointMissing("There is no model of this name")
    with pytest.raises(EndpointError, match="There is no model of this name"):
        fill(with_protocol(remote, protocol), ASKED)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_wrong_key_is_a_sentence(
    remote: RemoteEngine, protocol: EndpointProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "another-token-of-more-signs")
    with pytest.raises(EndpointError) as error:
        fill(with_protocol(remote, protocol), ASKED)
    assert "another-token" not in str(error.value)
