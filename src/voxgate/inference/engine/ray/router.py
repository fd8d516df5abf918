"""Which replica a handle sends a call to: the calls of a state go to the replica that keeps it.

Ray Serve loads this class in every process that has a handle.
"""

from __future__ import annotations

import random
from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

__all__ = ["StateRouter"]


class StateRouter(RequestRouter):
    """A call whose `session_id` is the id of a replica goes there, and waits while that replica is full. Others go to
    the less busy one of two replicas, as with Serve's own router. When the replica is gone, another one gets the call
    and answers that it does not have the state.
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True
            wanted: Any = pending_request.metadata.session_id
            for replica in candidate_replicas if wanted else ():
                if replica.replica_id.unique_id == wanted:
                    return [[replica]]
        return [random.sample(candidate_replicas, min(2, len(candidate_replicas)))] if candidate_replicas else []
