"""Run an engine that asks a server over HTTP. Neither torch nor transformers is imported."""

from __future__ import annotations

from palimpsest_engine.engine import Endpoint
from palimpsest_engine.remote.filler import RemoteFiller
from palimpsest_engine.remote.transport import Limits
from palimpsest_engine.runtime.queued import QueuedEngine


class RemoteEngine(QueuedEngine):
    """Reaches the endpoint on `warm` or the first `submit` and fills one request after the other."""

    def __init__(self, endpoint: Endpoint, limits: Limits | None = None) -> None:
        super().__init__(
            lambda: RemoteFiller(endpoint, limits),
            "The endpoint is being asked what it is.",
            "Waiting for the endpoint.",
            "palimpsest-endpoint",
        )
        self.endpoint = endpoint
