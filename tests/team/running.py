"""A real service in processes of its own, for the tests: started, asked, looked into, and ended without a trace."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from palimpsest_team import tokens

_COMMAND = "from palimpsest_team.cli import command; command(prog_name='palimpsest team')"
PATIENCE_SECONDS = 100  # for what takes some seconds on a machine with nothing else to do
POLL_SECONDS = 0.1


async def until(holds, what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(POLL_SECONDS)


class Running:
    """One `palimpsest team serve`. users: made as they are asked for."""

    def __init__(self, folder: Path, *options: str, script: dict[str, Any] | None = None) -> None:
        self.tokens, self._log, self._users = folder / "tokens.json", folder / "log", {}
        self.token("ann")
        environment = dict(os.environ)
        if script is not None:
            environment["PALIMPSEST_TEAM_SCRIPT"] = json.dumps(script)
        arguments = ["serve", "--replicas", "2", "--port", "0", "--cpus", "2", "--tokens", str(self.tokens), *options]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-c", _COMMAND, *arguments], stderr=log, env=environment)

    def token(self, user: str) -> str:
        """Return the user's token."""
        if user not in self._users:
            self._users[user] = tokens.add(self.tokens, user)
        return self._users[user]

    @property
    def log(self) -> str:
        """Return what it has said."""
        return self._log.read_text()

    async def ready(self, times: int = 1) -> None:
        """Wait until it is ready; times: for how many starts."""
        said = "palimpsest: ready"
        await until(lambda: self.log.count(said) >= times or self.process.poll() is not None, self.log[-2000:])
        assert self.process.poll() is None, self.log[-2000:]

    @property
    def url(self) -> str:
        """Return where it listens."""
        return self.log.split("starting at ")[1].split()[0]

    def below(self, name: str) -> list[psutil.Process]:
        """Return the processes below it that are called so."""
        found = []
        for each in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if name in each.name() or name in " ".join(each.cmdline()):
                    found.append(each)
            except psutil.Error:
                continue
        return found

    def folder(self) -> Path:
        """Return where Ray keeps its files."""
        (node,) = self.below("palimpsest_team.node")
        return Path(next(each.split("=")[1] for each in node.cmdline() if each.startswith("--temp-dir=")))

    def replicas(self) -> list[psutil.Process]:
        """Return the processes of the replicas."""
        return self.below("ServeReplica")

    @staticmethod
    def alive(process: psutil.Process) -> bool:
        """Return whether a process is still at work; it may end while it is asked."""
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def update(self) -> None:
        """Have the replicas replaced."""
        self.process.send_signal(signal.SIGHUP)

    def end(self) -> int:
        """End it. Returns the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    @asynccontextmanager
    async def client(self, user: str = "ann") -> AsyncIterator[Client]:
        """Yield a client of a user."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=self.url, timeout=90, limits=limits, verify=False) as http:
            http.headers["Authorization"] = f"Bearer {self.token(user)}"
            yield Client(http)


class Client:
    """A client that counts how its requests ended."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.ended: Counter[str] = Counter()

    async def fill(
        self, document: str, text: str = "x = \n", at: int = 4, token: str = "", **more: Any
    ) -> httpx.Response | None:
        """Ask for a fill; None if the connection broke. token: of another user."""
        asked = {"text": text, "holes": [{"start": at, "end": at}], "document": document, **more}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = await self.http.post("/v1/fill", json=asked, headers=headers)
        except httpx.HTTPError as error:
            self.ended[type(error).__name__] += 1
            return None
        self.ended[str(answer.status_code)] += 1
        return answer

    async def events(self, document: str, text: str, at: int, **more: Any) -> AsyncIterator[tuple[str, Any]]:
        """Ask for drafts and the fill: yield names and values."""
        asked = {"text": text, "holes": [{"start": at, "end": at}], "document": document, **more}
        headers = {"Accept": "text/event-stream"}
        async with self.http.stream("POST", "/v1/fill", json=asked, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            name = ""
            async for line in answer.aiter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)

    async def figures(self) -> dict[str, float]:
        """Return the figures for Prometheus."""
        lines = (await self.http.get("/metrics")).text.splitlines()
        pairs = (line.rpartition(" ")[::2] for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}
