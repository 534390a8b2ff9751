"""Count what the server does, for Prometheus: numbers by route and outcome. No code, no paths, no names of users."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from palimpsest_engine import Fill

_SECONDS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60.0, 120.0)


class Outcome:
    """The end of one request: filled, empty, cut short, cancelled, busy, refused or failed."""

    name = "failed"


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "palimpsest_requests", "Requests, by route and outcome.", ("route", "outcome"), registry=self.registry
        )
        self._seconds = Histogram(
            "palimpsest_request_seconds", "Seconds of a fill.", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self._waiting = Gauge("palimpsest_fills", "Fills under way or waiting.", registry=self.registry)
        self._characters = Counter("palimpsest_characters", "Characters that were written.", registry=self.registry)
        self._passes = Counter("palimpsest_decoder_passes", "Passes of the decoder.", registry=self.registry)
        self._context = Counter(
            "palimpsest_context_tokens", "Tokens of context that were read.", registry=self.registry
        )
        self._encoded = Counter(
            "palimpsest_encoded_tokens", "Tokens of context that no cache had.", registry=self.registry
        )

    @contextmanager
    def timed(self, route: str) -> Iterator[Outcome]:
        """Count one fill, and time it; the block says how it ended."""
        outcome, begun = Outcome(), time.perf_counter()
        self._waiting.inc()
        try:
            yield outcome
        finally:
            self._waiting.dec()
            self.count(route, outcome.name)
            self._seconds.labels(route).observe(time.perf_counter() - begun)

    def count(self, route: str, outcome: str) -> None:
        """Count a request that did not come to a fill."""
        self._requests.labels(route, outcome).inc()

    def written(self, fill: Fill) -> None:
        """Count what a fill took and gave."""
        self._characters.inc(sum(map(len, fill.texts)))
        self._passes.inc(fill.nfe)
        self._context.inc(fill.context)
        self._encoded.inc(fill.encoded)

    def response(self) -> Response:
        """Return all figures as Prometheus reads them."""
        return Response(generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
