"""Count what only a team's service does, for Prometheus, beside the figures of `palimpsest_api`. No names, no code."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class TeamMetrics:
    """The figures of one front door."""

    def __init__(self) -> None:
        self._lost = Counter(
            "palimpsest_team_replicas_lost",
            "Requests whose replica was lost, by whether another one was asked.",
            ("tried_again",),
            registry=None,
        )
        self._routed = Counter(
            "palimpsest_team_documents_routed",
            "Requests for a document that was filled before, by whether they came to the same replica.",
            ("same",),
            registry=None,
        )
        self._refused = Counter(
            "palimpsest_team_refused", "Requests that were refused at the door.", ("reason",), registry=None
        )
        self._replicas = Gauge("palimpsest_team_replicas", "Replicas, by state.", ("state",), registry=None)
        for again in ("yes", "no"):
            self._lost.labels(again)
            self._routed.labels(again)
        for reason in ("token", "quota", "tokens unreadable"):
            self._refused.labels(reason)

    def register(self, registry: CollectorRegistry) -> None:
        """Add the figures to those of a registry."""
        for each in (self._lost, self._routed, self._refused, self._replicas):
            registry.register(each)

    def lost(self, tried_again: bool) -> None:
        """Count a request whose replica was lost."""
        self._lost.labels("yes" if tried_again else "no").inc()

    def routed(self, same: bool) -> None:
        """Count a request of a document that is known."""
        self._routed.labels("yes" if same else "no").inc()

    def refused(self, reason: str) -> None:
        """Count a request that was refused at the door."""
        self._refused.labels(reason).inc()

    def replicas(self, by_state: dict[str, int]) -> None:
        """Say how many replicas there are."""
        self._replicas.clear()
        for state in ("running", "starting", "stopping"):
            self._replicas.labels(state).set(by_state.get(state, 0))
