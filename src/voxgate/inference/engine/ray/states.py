"""The states of a stateful model that live in replicas, as the server holds them."""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Callable
from typing import Literal

from voxgate.inference.engine.base import CallMethod, Job
from voxgate.inference.engine.ray.messages import Forget, StateRef

__all__ = ["PlacedStates"]


class PlacedStates:
    """Gives each state a number, remembers its replica, and says which states nobody needs any more. Any thread."""

    def __init__(self) -> None:
        self._server = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._freed: deque[tuple[str, int]] = deque()

    def ref(self, job: Job) -> StateRef | None:
        """Of the state of `job`, for a call. None: a call without state."""
        if job.state is None:
            return None
        if job.state.value is None:
            job.state.value = _Place(next(self._numbers), self._free)
        return StateRef(_method(job.method), self._server, job.state.value.number, job.state.value.replica)

    def place(self, job: Job, replica: str) -> None:
        """`replica` has made a call with the state of `job`."""
        assert job.state is not None
        job.state.value.replica = replica

    def take_freed(self) -> list[Forget]:
        """The states that were freed since the last call, by replica."""
        freed: dict[str, list[int]] = {}
        while self._freed:
            replica, number = self._freed.popleft()
            freed.setdefault(replica, []).append(number)
        return [Forget(self._server, replica, numbers) for replica, numbers in freed.items()]

    def _free(self, replica: str, number: int) -> None:
        """On any thread, perhaps within any call: Python runs finalizers wherever it frees memory."""
        if replica:
            self._freed.append((replica, number))


class _Place:
    """Stands for a state. Tells when it is freed."""

    __slots__ = ("_on_freed", "number", "replica")

    def __init__(self, number: int, on_freed: Callable[[str, int], None]) -> None:
        self.number = number
        self.replica = ""
        self._on_freed = on_freed

    def __del__(self) -> None:
        self._on_freed(self.replica, self.number)


def _method(method: CallMethod) -> Literal["step", "finish"]:
    if method == "infer":
        raise AssertionError("infer takes no state")
    return method
