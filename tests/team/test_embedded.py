"""The service with the embedded model: its fills are those of an engine here, also of a replica that takes one over."""

import asyncio
from pathlib import Path

import httpx
import pytest

from api.certificates import issue
from palimpsest_engine import EngineSettings, FillRequest, Span, open_engine
from team.running import Running, until

pytestmark = [pytest.mark.team, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

TEXT = 'def very_private_name(numbers):\n    """Return the sum."""\n    \n\n\nprint(very_private_name([1, 2]))\n'
AT = TEXT.index("\n\n\n")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    issued = issue(tmp_path_factory.mktemp("certificates"))
    tls = ["--certfile", str(issued.certificate("good")), "--keyfile", str(issued.key("good"))]
    running = Running(
        tmp_path_factory.mktemp("team"), "--model", "embedded", "--device", "cpu", "--at-once", "32", *tls
    )
    yield running
    running.end()


@pytest.fixture(scope="module")
def wanted() -> list[tuple[str, ...]]:
    engine = open_engine(EngineSettings("embedded", device="cpu", threads=1))
    requests = [FillRequest(TEXT, (Span(AT, AT),), language="python", seed=seed) for seed in range(4)]
    fills = [engine.submit(each).future.result(60) for each in requests]
    engine.close()
    return [fill.texts for fill in fills]


def files_below(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file()]


async def test_nothing_is_answered_without_tls(service):
    await service.ready()
    assert service.url.startswith("https://")
    async with httpx.AsyncClient() as plain:
        with pytest.raises(httpx.HTTPError):
            await plain.get(service.url.replace("https", "http") + "/health")


async def test_the_fills_are_those_of_an_engine_on_this_machine(service, wanted):
    await service.ready()
    async with service.client() as client:
        for seed, texts in enumerate(wanted):
            answer = await client.fill(f"{seed}.py", TEXT, AT, language="python", seed=seed)
            assert tuple(answer.json()["texts"]) == texts


async def test_a_fill_that_another_replica_takes_over_is_the_same_to_the_byte(service, wanted):
    await service.ready()
    async with service.client() as client:
        before = {each: each.cpu_times().user for each in service.replicas()}
        for seed in range(4):
            await client.fill("taken over.py", TEXT, AT, language="python", seed=seed)
        owner = max(before, key=lambda each: each.cpu_times().user - before[each])
        seen = []
        async for name, value in client.events("taken over.py", TEXT, AT, language="python", seed=1):
            if not seen:
                owner.kill()
            seen.append((name, value))
        assert tuple(seen[-1][1]["texts"]) == wanted[1]
        assert [name for name, _ in seen].count("fill") == 1
        figures = await client.figures()
        assert figures['palimpsest_team_replicas_lost_total{tried_again="yes"}'] == 1
        await until(lambda: len(service.replicas()) == 2, "no other replica")


async def test_a_quiet_user_overtakes_one_who_storms(service):
    await service.ready()
    async with service.client("storm") as storm, service.client("quiet") as quiet:
        storming = [asyncio.ensure_future(storm.fill(f"storm-{number}", TEXT, AT)) for number in range(24)]
        await asyncio.wait(storming, return_when=asyncio.FIRST_COMPLETED)
        await quiet.fill("quiet.py", TEXT, AT)
        overtaken = sum(not each.done() for each in storming)
        await asyncio.gather(*storming)
        assert set(quiet.ended) == {"200"}
        assert set(storm.ended) == {"200"}, storm.ended
        assert overtaken >= 6


async def test_no_code_is_in_any_file_that_the_service_and_ray_have_written(service):
    await service.ready()
    async with service.client() as client:
        tasks = [asyncio.ensure_future(client.fill(f"{number}.py", TEXT, AT)) for number in range(20)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in tasks:
            each.cancel()
        await client.http.post("/v1/fill", content=TEXT)
        await client.http.post(
            "/infill", json={"input_prefix": TEXT, "input_suffix": "", "n_predict": "very_private_name"}
        )
    files = [*files_below(service.folder()), *files_below(service.tokens.parent)]
    assert any("raylet" in each.name for each in files)  # Ray's own logs are among them
    for each in files:
        assert b"very_private_name" not in each.read_bytes(), each
        assert service.token("ann").encode() not in each.read_bytes(), each
