"""`ServeReplicas` asks the replicas through a handle of Ray Serve, and says what went wrong in words of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from ray.exceptions import RayActorError, RayError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from palimpsest_team.backend import ClusterDown, ClusterFull, ReplicaLost

_GONE = "The team's service is not running; its log says why."


class ServeReplicas:
    """The replicas behind a handle, for one event loop."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._fill = handle.options(method_name="fill", stream=True)
        self._status = handle.options(method_name="status")

    async def ask(self, packed: bytes, key: str) -> AsyncGenerator[bytes]:
        """Yield what `EngineReplica.fill` yields; closing this ends it there."""
        with _in_our_words():
            answers = self._fill.remote(packed, key=key)
        ended = False
        try:
            while True:
                with _in_our_words():
                    try:
                        answer = await anext(answers)
                    except StopAsyncIteration:
                        ended = True
                        return
                yield answer
        finally:
            if not ended:
                answers.cancel()

    async def status(self) -> bytes:
        """Return what some replica says of its engine."""
        with _in_our_words():
            packed: bytes = await self._status.remote()
        return packed


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except BackPressureError:
        raise ClusterFull from None
    except DeploymentUnavailableError:
        raise ClusterDown(_GONE) from None
    except (RayActorError, WorkerCrashedError):
        raise ReplicaLost from None
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        raise ReplicaLost from None  # nobody here has cancelled it: the replica was stopped
    except (RayError, RayServeException):
        raise ReplicaLost from None
