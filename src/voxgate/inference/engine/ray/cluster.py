"""What a driver knows of the cluster: the application, its replicas, and how to call them. The one module of a server
that imports Ray.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from voxgate.errors import text_of
from voxgate.inference.engine.ray.messages import Call, FailureKind, Forget

__all__ = ["Cluster", "failure_kind"]

_CALL_S = 10.0
"""How long a question that takes no model may take."""


class Cluster:
    """Any thread may call these methods."""

    def __init__(self, app: str, address: str) -> None:
        """Joins the cluster, as a driver that needs a Ray node on this machine (or as a Ray client, for an address that
        begins with ``ray://``). Raises ConnectionError, and whatever Ray raises.
        """
        self._app = app
        self._streams = not address.startswith("ray://")
        ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level=logging.WARNING)
        self._handle: Any = None

    def find(self) -> bytes:
        """Looks the application up anew; the Facts of its model. Raises RayServeException when there is none."""
        self._handle = serve.get_app_handle(self._app)
        found: bytes = self._handle.describe.remote().result(timeout_s=_CALL_S)
        return found

    def look(self) -> tuple[int, str, str]:
        """The replicas that run, a text that changes with the application and its replicas, and what Serve says about
        it.
        """
        app = serve.status().applications.get(self._app)
        if app is None:
            return 0, "", f"there is no application {self._app!r}: voxgate deploy --app {self._app}"
        states = [deployment.replica_states for deployment in app.deployments.values()]
        running = sum(count for found in states for state, count in found.items() if state == "RUNNING")
        version = f"{app.last_deployed_time_s} {app.status} {states}"
        return running, version, f"application {self._app!r} is {app.status.value}: {app.message}"

    def ping(self) -> None:
        """Returns when a replica answers. Raises TimeoutError after some seconds, and whatever Ray raises."""
        self._handle.ping.remote().result(timeout_s=_CALL_S)

    async def run(self, call: Call) -> AsyncIterator[bytes]:
        """The ReplicaAnswers of one call, the last of which is the answer."""
        audio = np.frombuffer(call.audio, np.float32)
        handle = self._handle.options(session_id=call.replica) if call.replica else self._handle
        if call.streams and self._streams:
            responses = handle.options(stream=True).stream.remote(call.call, audio)
            try:
                async for answer in responses:
                    yield answer
            finally:
                responses.cancel()  # Without effect on one that has ended.
            return
        response = handle.run.remote(call.call, audio)
        try:
            yield await response
        finally:
            response.cancel()

    def forget(self, message: Forget) -> None:
        """Returns at once."""
        handle = self._handle.options(session_id=message.replica)
        handle.forget.remote(message.server, message.replica, message.numbers)


def failure_kind(error: BaseException) -> tuple[FailureKind, str]:
    """Whether a replica, or the way to it, is gone; an exception inside of a replica that lives is a bug of ours."""
    text = text_of(error).partition("\n")[0]
    is_theirs = isinstance(error, RayError | RayServeException | ConnectionError)
    return "died" if is_theirs and not isinstance(error, RayTaskError) else "bug", f"{type(error).__name__}: {text}"
