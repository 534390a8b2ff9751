"""Keep a team's service running in the foreground: a node of Ray, the front door, and a 503 while either is not there.

This process knows no Ray. It holds the socket, so the port is never free for others, and survives whatever the cluster does.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
import uvicorn
from starlette.types import Receive, Scope, Send

from palimpsest_api.refusals import Refusal, as_response, shape_of
from palimpsest_engine import PalimpsestError
from palimpsest_team.node import adopt_orphans
from palimpsest_team.process import Plan, Said

_PATIENCE_SECONDS = (0.5, 1, 2, 4, 8, 15)  # before the next try; the last one for ever after
_STEADY_SECONDS = 60.0  # after which a failure counts as the first one
_NODE_SECONDS = 60.0  # until a node of Ray answers
_END_SECONDS = 20.0  # for a process to end by itself
_POLL_SECONDS = 0.1
_OBJECT_STORE_BYTES = 80_000_000  # Ray's least; requests and fills are small
T = TypeVar("T")
_STARTING = "The service is starting, or starting again; try again soon."


@dataclass(frozen=True, slots=True)
class Cluster:
    """The place of the replicas. address: of a cluster to join, "auto" for one on this machine, None for one of our own.

    cpus: that replicas of our own cluster may use; None for all.
    """

    address: str | None = None
    cpus: int | None = None


class Ended(Exception):
    """One of the processes is gone; the message says which."""


class Service:
    """Runs until it is told to stop. plan: for the front door; its socket and address are filled in here."""

    def __init__(
        self, plan: Plan, cluster: Cluster, taken: socket.socket, tls: ssl.SSLContext | None, say: Callable[[str], None]
    ) -> None:
        self._plan, self._cluster, self._taken, self._tls, self._say = plan, cluster, taken, tls, say
        self._stop = asyncio.Event()
        self._door: asyncio.subprocess.Process | None = None
        self._was_ready = False

    async def run(self) -> None:
        """Keep the service running. Raises PalimpsestError if it never came up."""
        adopt_orphans()
        self._heed_signals()
        loop, failures = asyncio.get_running_loop(), 0
        while not self._stop.is_set():
            begun = loop.time()
            try:
                await self._once()
            except Ended as ended:
                if not self._was_ready:
                    raise PalimpsestError(str(ended)) from None
                if loop.time() - begun > _STEADY_SECONDS:
                    failures = 0
                wait = _PATIENCE_SECONDS[min(failures, len(_PATIENCE_SECONDS) - 1)]
                failures += 1
                self._say(f"{ended} Starting again.")
                async with self._waiting_room():
                    await self._unless_stopped(asyncio.sleep(wait))

    async def _once(self) -> None:
        """Start everything, wait until something ends, and end the rest. Raises Ended."""
        # Only we can open it. Ray has sockets in there, whose paths must be short, so TMPDIR is not asked.
        folder = Path(tempfile.mkdtemp(prefix="palimpsest-team-", dir="/tmp"))
        node: asyncio.subprocess.Process | None = None
        try:
            async with self._waiting_room():
                address, environment = self._cluster.address, dict(os.environ)
                if address is None or address != "auto":
                    address, environment, node = await self._start_node(folder)
                    await self._unless_stopped(_answers(address, node, folder))
                if not self._stop.is_set():
                    await self._start_door(address, environment)
            if not self._stop.is_set():
                self._was_ready = True
                self._say("ready")  # now, because nobody is told to wait any more
                await self._until_an_end(node)
        finally:
            await self._end_all(node)
            shutil.rmtree(folder, ignore_errors=True)

    async def _start_node(self, folder: Path) -> tuple[str, dict[str, str], asyncio.subprocess.Process]:
        address, arguments = self._cluster.address, ["--num-cpus=0", "--num-gpus=0"]
        environment = dict(os.environ, RAY_USAGE_STATS_ENABLED="0", RAY_SERVE_LOG_TO_STDERR="0")
        if address is None:
            port = _free_port()
            address = f"127.0.0.1:{port}"
            # Nobody else on this machine can use the cluster: a pickle that is sent to it is code.
            environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
            arguments = ["--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
            arguments += [f"--temp-dir={folder}", f"--ray-client-server-port={_free_port()}"]
            arguments += [] if self._cluster.cpus is None else [f"--num-cpus={self._cluster.cpus}"]
            # Requests are not to be written to a disk.
            arguments.append("--system-config=" + json.dumps({"automatic_object_spilling_enabled": False}))
        else:
            arguments += [f"--address={address}"]
        common = [f"--object-store-memory={_OBJECT_STORE_BYTES}", "--disable-usage-stats", "--block"]
        with (folder / "node.log").open("wb") as output:  # a new file on a local disk
            node = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "palimpsest_team.node", str(os.getpid()), "start", *arguments, *common),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        return address, environment, node

    async def _start_door(self, address: str, environment: dict[str, str]) -> None:
        plan = replace(
            self._plan,
            address=address,
            descriptor=self._taken.fileno(),
            start="anew" if self._cluster.address is None else self._plan.start,
        )
        door = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "palimpsest_team.process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            pass_fds=(self._taken.fileno(),),
            start_new_session=True,
        )
        self._door = door
        assert door.stdin is not None
        door.stdin.write(msgspec.json.encode(plan) + b"\n")
        said = await self._unless_stopped(self._heard(door))
        if said is None:
            return
        if not said.ready:
            raise Ended(said.failed)

    async def _heard(self, door: asyncio.subprocess.Process) -> Said:
        assert door.stdout is not None
        line = await door.stdout.readline()
        return msgspec.json.decode(line, type=Said) if line else Said(failed="The front door ended.")

    async def _until_an_end(self, node: asyncio.subprocess.Process | None) -> None:
        door = self._door
        assert door is not None
        ends = {asyncio.ensure_future(door.wait()): "The front door ended."}
        if node is not None:
            ends[asyncio.ensure_future(node.wait())] = "Ray's node has ended."
        stop = asyncio.ensure_future(self._stop.wait())
        done, _ = await asyncio.wait({*ends, stop}, return_when=asyncio.FIRST_COMPLETED)
        for each in {*ends, stop} - done:
            each.cancel()
        if stop not in done:
            raise Ended(ends[done.pop()])

    async def _end_all(self, node: asyncio.subprocess.Process | None) -> None:
        """End the door with its fills done, if we are to stop; then whatever is left of us."""
        if self._door is not None:
            await _ended(self._door, self._plan.door.drain_seconds + _END_SECONDS if self._stop.is_set() else 0)
            self._door = None
        if node is not None:
            # A node of a cluster that goes on says goodbye to it.
            await _ended(node, _END_SECONDS if self._cluster.address is not None else 0)
        await asyncio.to_thread(kill_children)

    @asynccontextmanager
    async def _waiting_room(self) -> AsyncIterator[None]:
        """Answer 503 while the block runs, so that clients try again."""
        config = uvicorn.Config(
            _starting, loop="asyncio", lifespan="off", log_config=None, access_log=False, server_header=False, ws="none"
        )
        config.load()
        config.ssl = self._tls
        config.timeout_graceful_shutdown = 1
        room = _Room(config)
        serving = asyncio.create_task(room.serve([self._taken.dup()]))
        try:
            yield
        finally:
            room.should_exit = True
            await serving

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what some work returns, or None if it was told to stop before."""
        working, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
            return await working if working.done() else None
        finally:
            working.cancel()
            stop.cancel()

    def _heed_signals(self) -> None:
        if sys.platform == "win32":
            raise NotImplementedError  # the command line says that a team needs another system
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._update)

    def _update(self) -> None:
        """Have all replicas replaced, a few at a time: after an upgrade, or when a model's files are others."""
        if self._door is not None and self._door.stdin is not None:
            self._say("replacing the replicas")
            self._door.stdin.write(b"update\n")


class _Room(uvicorn.Server):
    """A server that leaves signals to the service."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signal: the service handles them."""
        yield


async def _starting(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that the service is not there yet."""
    if scope["type"] == "http":
        refusal = Refusal(503, _STARTING, "EndpointError", retry_after=2, close=True)
        await as_response(refusal, shape_of(scope["path"]))(scope, receive, send)


async def _answers(address: str, node: asyncio.subprocess.Process, folder: Path) -> None:
    """Wait until a node's cluster can be connected to. Raises Ended if the node ends before."""
    host, _, port = address.rpartition(":")
    until = asyncio.get_running_loop().time() + _NODE_SECONDS
    while asyncio.get_running_loop().time() < until:
        if node.returncode is not None:
            break
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return
        await asyncio.sleep(_POLL_SECONDS)
    said = (folder / "node.log").read_text(errors="replace").strip().splitlines()
    raise Ended(f"Ray does not start: {said[-1] if said else 'it says nothing'}")


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> None:
    """End a process: by itself, if it can in so many seconds."""
    with suppress(ProcessLookupError):
        if seconds:
            process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), seconds)
        if process.returncode is None:
            process.kill()
    await process.wait()


def kill_children() -> None:
    """Kill all children of this process, and those that they start before they are dead."""
    until = time.monotonic() + _END_SECONDS
    while (children := psutil.Process().children(recursive=True)) and time.monotonic() < until:
        for each in children:
            with suppress(psutil.Error):
                each.kill()
        psutil.wait_procs(children, 5)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port
