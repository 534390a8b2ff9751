"""Send a request to the replica that its document belongs to. Ray Serve runs this wherever there is a handle."""

from __future__ import annotations

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from palimpsest_team.affinity import ranked


class DocumentRouter(RequestRouter):  # type: ignore[misc]  # Ray has no types
    """Ranks replicas for a document; the next best is asked if the best one is full or gone."""

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Return the replicas by rank, one each. A request that belongs to no document may go to any."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True  # once all of them were full
        key = pending_request.kwargs.get("key")
        if not key:
            return [candidate_replicas]
        by_name = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        return [[by_name[name]] for name in ranked(key, by_name)]
