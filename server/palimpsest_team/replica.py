"""One replica: owns an engine, and streams drafts and the fill as bytes. Ray Serve makes, watches and ends it.

Nothing that is raised leaves it, and nothing is logged but kinds of errors: a traceback might quote a user's code.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator

from palimpsest_api.backend import EngineBackend
from palimpsest_engine import Draft, Engine, PalimpsestError, messages, open_engine
from palimpsest_team.options import Deployed

log = logging.getLogger("palimpsest.team")
_POLL_SECONDS = 0.05
_FAULT = "The replica failed to fill this; its log has the kind of the error."


class EngineReplica:
    """Fills with an engine of its own, whose model is loaded before the first request comes."""

    def __init__(self, packed: bytes, name: str | None = None) -> None:
        import msgspec

        self._deployed = msgspec.msgpack.decode(packed, type=Deployed)
        self._name = name or _name_in_serve()
        self._engine = _opened(self._deployed)
        self._backend = EngineBackend(self._engine)
        self._running = 0
        self._alive_at = time.monotonic()
        self._engine.warm()
        while self._engine.status().state in ("starting", "loading"):
            time.sleep(_POLL_SECONDS)
        if (status := self._engine.status()).state == "error":
            raise RuntimeError(status.reason)

    async def fill(self, packed: bytes, key: str = "") -> AsyncGenerator[bytes]:
        """Yield the replica's name, then messages: `Drafted`s and one `Filled` or `Failed`. key: for the router."""
        yield self._name.encode()
        self._running += 1
        self._alive_at = time.monotonic()
        try:
            async for event in self._backend.fill(messages.request_of(packed)):
                self._alive_at = time.monotonic()
                if isinstance(event, Draft):
                    yield messages.to_bytes(messages.Drafted(0, event))
                else:
                    yield messages.to_bytes(messages.Filled(0, event))
        except PalimpsestError as error:
            yield messages.to_bytes(messages.Failed(0, type(error).__name__, str(error)))
        except Exception as error:
            log.error("a fill failed: %s", type(error).__name__)
            yield messages.to_bytes(messages.Failed(0, PalimpsestError.__name__, _FAULT))
        finally:
            self._running -= 1
            self._alive_at = time.monotonic()

    async def status(self) -> bytes:
        """Return the engine's status."""
        return messages.to_bytes(messages.Told(self._engine.status()))

    async def check_health(self) -> None:
        """Raise if the engine cannot fill any more; Ray Serve then starts another replica."""
        status = self._engine.status()
        if status.state in ("error", "closed"):
            raise RuntimeError(f"the engine is in state {status.state}")
        silent = time.monotonic() - self._alive_at
        if self._running and silent > self._deployed.silence_seconds:
            raise RuntimeError(f"no sign of life from a fill for {silent:.0f} s")

    def __del__(self) -> None:
        if engine := getattr(self, "_engine", None):
            engine.close()


def _opened(deployed: Deployed) -> Engine:
    if deployed.script is None:
        return open_engine(deployed.settings)
    from palimpsest_team.scripted import scripted_engine

    return scripted_engine(deployed.script, deployed.steps, deployed.step_seconds)


def _name_in_serve() -> str:
    from ray import serve

    return str(serve.get_replica_context().replica_id.unique_id)
