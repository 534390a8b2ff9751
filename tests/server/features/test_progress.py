"""Progress of a command: shown to clients that can show it, and not for the blink of an eye."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from palimpsest_server.features import progress


class Client:
    """Notes what a server sends of its own accord."""

    def __init__(self, able: bool = True):
        window = SimpleNamespace(work_done_progress=able)
        self.client_capabilities = SimpleNamespace(window=window)
        self.said, self.work_done_progress, self.protocol = [], self, self
        self.tokens = {}

    def send_request(self, method, params):
        self.said.append("create")
        answer = Future()
        self.answer = lambda: answer.set_result(None)
        return answer

    def begin(self, token, value):
        self.said.append("begin")
        self.tokens[token] = Future()

    def report(self, token, value):
        self.said.append(value.percentage)

    def end(self, token, value):
        self.said.append("end")


def shown(client, token=None):
    return progress.WorkDoneProgress(client, "writing", token, lambda: None)


async def test_a_short_command_shows_nothing(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    client = Client()
    work = shown(client)
    work.report(0.5)
    work.end()
    await asyncio.sleep(0.01)
    assert client.said == []


async def test_a_long_command_shows_its_share(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    client = Client()
    work = shown(client)
    work.report(0.1)
    while not client.said:
        await asyncio.sleep(0)
    client.answer()
    work.report(0.5)
    work.end()
    assert client.said == ["create", "begin", 50, "end"]


@pytest.mark.parametrize(("able", "token", "said"), [(True, "own", ["begin", "end"]), (False, None, [])])
async def test_the_clients_own_token_is_used_at_once_and_one_that_shows_nothing_is_not_asked(
    monkeypatch, able, token, said
):
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    client = Client(able)
    work = shown(client, token)
    await asyncio.sleep(0.01)
    work.end()
    assert client.said == said
