"""The whole service on this machine: Ray, two replicas, the front door. Their engine answers from a script, in its time."""

import asyncio
import itertools
import random

import pytest

from palimpsest_bench.server import replay
from palimpsest_engine import Endpoint, EngineSettings, FillRequest, Span, open_engine
from palimpsest_team import tokens
from team.running import Client, Running, until

pytestmark = [pytest.mark.team, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

grpc = pytest.importorskip("grpc")  # Ray brings it

USERS, EDITORS, KEYSTROKES, SLOWER = 40, 200, 6, 20  # at a twentieth of their speed: what two cores can do
SCRIPT = {"script": "written", "steps": 4, "step_seconds": 0.005}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("team"), "--per-minute", "100000", "--at-once", "64", script=SCRIPT)
    yield running
    running.end()


async def asking(client: Client, documents: int, enough: asyncio.Event) -> None:
    """Ask for fills of so many documents at a time until there are enough."""

    async def typist(number: int) -> None:
        while not enough.is_set():
            await client.fill(f"document-{number}.py")
            await asyncio.sleep(0.1)

    await asyncio.gather(*map(typist, range(documents)))


async def same_share(client: Client, since: dict[str, float]) -> float:
    now = await client.figures()
    same, moved = (
        now[f'palimpsest_team_documents_routed_total{{same="{kind}"}}']
        - since[f'palimpsest_team_documents_routed_total{{same="{kind}"}}']
        for kind in ("yes", "no")
    )
    return same / (same + moved)


async def test_while_it_starts_it_says_so(service):
    await until(lambda: "starting at" in service.log, "no address")
    async with service.client() as client:
        answer = None
        while answer is None:
            answer = await client.fill("a.py")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


async def test_drafts_come_before_the_fill(service):
    await service.ready()
    async with service.client() as client:
        names = [name async for name, _ in client.events("a.py", "x = \n", 4)]
        assert names[-1] == "fill"
        assert set(names) <= {"draft", "fill"}


async def test_nobody_uses_the_cluster_without_its_secret(service):
    await service.ready()
    (node,) = service.below("palimpsest_team.node")
    port = next(each.split("=")[1] for each in node.cmdline() if each.startswith("--port="))
    secret = node.environ()["RAY_AUTH_TOKEN"]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")
        for shown in ([], [("authorization", "Bearer " + "0" * len(secret))]):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask(b"", timeout=30, metadata=shown)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        await ask(b"", timeout=30, metadata=[("authorization", f"Bearer {secret}")])


async def test_an_engine_behind_an_endpoint_is_a_client_with_its_users_token(service, tmp_path):
    await service.ready()
    key = tmp_path / "token"
    key.touch(mode=0o600)
    key.write_text(service.token("ann"))
    engine = open_engine(EngineSettings(endpoint=Endpoint(service.url, key_file=str(key))))
    request = FillRequest("x = \n", (Span(4, 4),), language="python", document="a.py")
    fill = await asyncio.wrap_future(engine.submit(request).future)
    assert fill.texts == ("written",)
    assert service.url.removeprefix("http://").partition(":")[0] in engine.status().device + engine.status().model
    engine.close()


async def test_200_editors_lose_nothing_and_documents_keep_their_replica(service):
    await service.ready()
    known = list(replay.sessions().values())
    draw = random.Random(7)
    async with service.client() as client:
        before = await client.figures()
        for number in range(USERS):
            service.token(f"user{number}")

        async def editor(number: int) -> None:
            session = replay.middle_keystrokes(known[number % len(known)], KEYSTROKES)
            text, asked = replay.opened(session).text, None
            token = service.token(f"user{number % USERS}")
            await asyncio.sleep(draw.random() * 4)
            for earlier, event in itertools.pairwise(session):
                await asyncio.sleep(min(event.at - earlier.at, 0.5) * SLOWER / 4 * draw.uniform(0.8, 1.2))
                if not isinstance(event.what, replay.Change):
                    continue
                if asked is not None and not asked.done():
                    asked.cancel()  # as an editor does on the next key
                text = event.what.apply(text)
                at = replay.offset_of(text, event.what.cursor)
                asked = asyncio.ensure_future(client.fill(f"editor-{number}", text, at, token))
            if asked is not None:
                await asyncio.wait([asked])

        await asyncio.gather(*map(editor, range(EDITORS)))
        assert set(client.ended) == {"200"}, client.ended
        assert client.ended["200"] >= EDITORS
        assert await same_share(client, before) == 1.0


async def test_a_replica_that_is_killed_in_the_middle_of_its_fills_loses_none_of_them(service):
    await service.ready()
    async with service.client() as client:
        before, enough = await client.figures(), asyncio.Event()
        load = asyncio.ensure_future(asking(client, 24, enough))
        await until(lambda: client.ended["200"] > 100, "no fills")
        killed = service.replicas()[0]
        killed.kill()
        await until(lambda: len(service.replicas()) == 2 and killed not in service.replicas(), "no other replica")
        count = client.ended["200"]
        await until(lambda: client.ended["200"] > count + 200, "no fills")
        enough.set()
        await load
        assert set(client.ended) == {"200"}, client.ended
        after = await client.figures()
        lost = 'palimpsest_team_replicas_lost_total{tried_again="%s"}'
        assert after[lost % "no"] == before[lost % "no"]
        # Half of the documents have moved away, and back to the replica that took its place.
        assert await same_share(client, before) > 0.8


async def test_replicas_are_replaced_under_load_and_no_request_is_lost(service):
    await service.ready()
    async with service.client() as client:
        enough, before = asyncio.Event(), {each.pid for each in service.replicas()}
        load = asyncio.ensure_future(asking(client, 16, enough))
        await until(lambda: client.ended["200"] > 50, "no fills")
        service.update()

        def replaced() -> bool:
            now = {each.pid for each in service.replicas()}
            return len(now) == 2 and not now & before

        await until(replaced, "not replaced")
        count = client.ended["200"]
        await until(lambda: client.ended["200"] > count + 50, "no fills")
        enough.set()
        await load
        assert set(client.ended) == {"200"}, client.ended


async def test_a_token_that_is_revoked_while_it_runs_is_refused(service):
    await service.ready()
    async with service.client("eve") as eve, service.client() as ann:
        assert (await eve.fill("a.py")).status_code == 200
        tokens.revoke(service.tokens, "eve")
        assert (await eve.fill("a.py")).status_code == 401
        assert (await ann.fill("a.py")).status_code == 200


async def test_a_user_above_the_quota_is_told_so_and_another_is_not(service):
    await service.ready()
    async with service.client("storm") as storm, service.client("quiet") as quiet:
        # A client that is still connecting may be slower than the answers; the next time its connections are there.
        while not storm.ended["429"]:
            storming = [asyncio.ensure_future(storm.fill(f"storm-{number}")) for number in range(150)]
            await quiet.fill("quiet.py")
            await asyncio.gather(*storming)
        assert set(quiet.ended) == {"200"}
        assert set(storm.ended) == {"200", "429"}, storm.ended


async def test_clients_are_told_that_rays_head_is_gone_and_the_service_comes_back(service):
    await service.ready()
    async with service.client() as client:
        enough = asyncio.Event()
        load = asyncio.ensure_future(asking(client, 8, enough))
        await until(lambda: client.ended["200"] > 20, "no fills")
        for each in service.below("gcs_server"):
            each.kill()
        await service.ready(times=2)
        count = client.ended["200"]
        await until(lambda: client.ended["200"] > count + 20, "no fills")
        enough.set()
        await load
        # What was under way when the front door went with the cluster ends with its connection.
        assert set(client.ended) <= {"200", "503", "ReadError", "RemoteProtocolError", "ConnectError"}, client.ended
        assert client.ended["503"] > 0


async def test_it_ends_when_told_to_and_leaves_no_process_and_no_file(service):
    await service.ready()
    children, folder = service.below(""), service.folder()
    assert folder.exists()
    assert service.end() == 0
    assert not [each for each in children if service.alive(each)]
    assert not folder.exists()
    assert "Traceback" not in service.log
    assert "written" not in service.log
