"""The front door over an engine of a script, without a cluster: tokens, quotas, the access log."""

import asyncio
import logging
import sys

import httpx
import pytest

from palimpsest_api.backend import EngineBackend
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_team import tokens
from palimpsest_team.door import AccessLog, Door, application
from palimpsest_team.metrics import TeamMetrics
from palimpsest_team.process import WithoutTexts

BODY = {"text": "secret_name = \n", "holes": [{"start": 14, "end": 14}], "document": "file:///hidden/path.py"}


class Team:
    """A door, and people before it."""

    def __init__(self, path, **quotas) -> None:
        self.path = path
        self.tokens = {user: tokens.add(path, user) for user in ("ann", "bob")}
        self.engine = ScriptedEngine(["written"])
        door = Door(str(path), **quotas)
        app = AccessLog(application(EngineBackend(self.engine), door, TeamMetrics()))
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://team")

    async def fill(self, user: str | None = "ann", **headers) -> httpx.Response:
        if user is not None:
            headers["Authorization"] = f"Bearer {self.tokens.get(user, user)}"
        return await self._client.post("/v1/fill", json=BODY, headers=headers)

    async def figures(self) -> str:
        headers = {"Authorization": f"Bearer {self.tokens['bob']}"}
        return (await self._client.get("/metrics", headers=headers)).text


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.json"


async def test_a_user_with_a_token_gets_a_fill(path):
    answer = await Team(path).fill()
    assert (answer.status_code, answer.json()["texts"]) == (200, ["written"])


@pytest.mark.parametrize("shown", [None, "", "pal_wrong", "ann"])
async def test_nobody_else_does_and_nothing_reaches_the_engine(path, shown):
    team = Team(path)
    if shown == "ann":
        del team.tokens["ann"]
    answer = await team.fill(shown)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert team.engine.started == 0
    assert 'palimpsest_team_refused_total{reason="token"} 1.0' in await team.figures()


async def test_a_revoked_token_is_refused_at_once_and_others_are_not(path):
    team = Team(path)
    assert (await team.fill()).status_code == 200
    tokens.revoke(path, "ann")
    assert (await team.fill()).status_code == 401
    assert (await team.fill("bob")).status_code == 200


async def test_a_file_of_tokens_that_cannot_be_read_lets_nobody_in(path, caplog):
    team = Team(path)
    path.write_text("not JSON")
    answer = await team.fill()
    assert answer.status_code == 503
    assert "tokens.json" not in answer.text
    assert "tokens.json" in caplog.text


async def test_a_user_above_the_quota_is_told_when_to_come_back_and_another_is_not(path):
    team = Team(path, per_minute=2)
    assert [(await team.fill()).status_code for _ in range(3)] == [200, 200, 429]
    refused = await team.fill()
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert refused.json()["error"]["message"] == "Only 2 requests a minute are answered for a user."
    assert (await team.fill("bob")).status_code == 200
    assert 'palimpsest_team_refused_total{reason="quota"} 2.0' in await team.figures()


async def test_an_events_stream_is_refused_with_a_status_too(path):
    team = Team(path, per_minute=1)
    assert (await team.fill(Accept="text/event-stream")).status_code == 200
    assert (await team.fill(Accept="text/event-stream")).status_code == 429


async def test_the_access_log_has_the_user_and_the_time_and_nothing_of_the_request(path, caplog):
    caplog.set_level(logging.INFO, "palimpsest.team")
    caplog.set_level(logging.INFO, "palimpsest.team.access")
    team = Team(path)
    await team.fill()
    await team.fill(None)
    lines = [record.getMessage() for record in caplog.records if record.name == "palimpsest.team.access"]
    assert [line.split()[:2] for line in lines] == [["ann", "200"], ["-", "401"]]
    for hidden in ("secret_name", "hidden", "path.py", "written", team.tokens["ann"]):
        assert hidden not in caplog.text


async def test_users_of_the_same_document_do_not_cancel_each_other(path):
    seen = []
    team = Team(path)
    submit = team.engine.submit
    team.engine.submit = lambda request, *rest: (seen.append(request.identity), submit(request, *rest))[1]
    for user in ("ann", "bob"):
        assert (await team.fill(user)).status_code == 200
    assert [client for client, _ in seen] == ["ann", "bob"]
    assert len(set(seen)) == 2


async def test_a_client_that_goes_away_leaves_nothing_but_a_line_and_a_server_that_ends_still_ends(caplog):
    caplog.set_level(logging.INFO, "palimpsest.team")
    caplog.set_level(logging.INFO, "palimpsest.team.access")

    async def gone(scope, receive, send):
        raise asyncio.CancelledError

    async def waiting(scope, receive, send):
        await asyncio.Event().wait()

    await AccessLog(gone)({"type": "http"}, None, None)
    assert [record.getMessage().split()[:2] for record in caplog.records] == [["-", "gone"]]
    task = asyncio.create_task(AccessLog(waiting)({"type": "http"}, None, None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_an_error_in_the_log_has_its_kind_and_its_place_and_not_its_text():
    text = "somebody's code"
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("palimpsest", logging.ERROR, "", 0, "an answer failed", (), sys.exc_info())
    said = WithoutTexts().format(record)
    assert "somebody" not in said
    assert said.endswith("ValueError")
    assert "test_door.py" in said
