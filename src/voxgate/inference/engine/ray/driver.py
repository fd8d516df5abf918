"""The main function of the driver process: the part of a server that belongs to the Ray cluster.

Ray ends a driver that loses the cluster, and a driver that was cut off cannot join again. Therefore it is a process of
its own; the server starts another one in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import msgspec

from voxgate.errors import text_of
from voxgate.inference.engine.processes.channel import Channel, ChannelClosed
from voxgate.inference.engine.processes.guarded_child import enter, ignore_signals, leave
from voxgate.inference.engine.processes.messages import Quit
from voxgate.inference.engine.ray.messages import (
    Answered,
    Call,
    Cancel,
    Facts,
    Failed,
    FailureKind,
    Forget,
    ServerMessage,
    Status,
    Unable,
)
from voxgate.runtime.loop_thread import LoopThread
from voxgate.runtime.tasks import spawn_task, spawn_thread

if TYPE_CHECKING:
    from voxgate.inference.engine.ray.cluster import Cluster

__all__ = ["Driver", "main"]

logger = logging.getLogger("voxgate.inference.engine")

FailureKindOf: TypeAlias = Callable[[BaseException], tuple[FailureKind, str]]

_LOOK_EVERY_S = 1.0
_SUBSYSTEM = "engine"


def main(
    app: str, address: str, lost_after_s: float, socket_fd: int, parent_pid: int, log_levels: Mapping[str, int]
) -> NoReturn:
    """Joins the cluster and makes calls until the server sends Quit or dies. Never returns."""
    channel, log = enter(socket_fd, parent_pid, log_levels, ServerMessage)
    log.resume()  # The server reads the channel all the time.
    with contextlib.suppress(ChannelClosed):
        try:
            from voxgate.inference.engine.ray.cluster import Cluster, failure_kind

            cluster = Cluster(app, address)
            ignore_signals()  # Ray has set a handler of its own.
            Driver(channel, cluster, failure_kind, lost_after_s).run()
            leave(0)
        except ImportError as error:
            channel.send(Unable(f"cannot import Ray ({text_of(error)}): pip install 'voxgate[ray]'"))
        except ChannelClosed:
            raise
        except BaseException as error:
            first = text_of(error).partition("\n")[0]
            channel.send(Unable(f"cannot join the Ray cluster at {address!r}: {type(error).__name__}: {first}"))
    leave(1)


class Driver:
    """Passes calls on, and tells the server how many replicas there are."""

    def __init__(self, channel: Channel, cluster: Cluster, failure_kind: FailureKindOf, lost_after_s: float) -> None:
        """`failure_kind`: that of :mod:`.cluster`, which this module does not import."""
        self._channel = channel
        self._cluster = cluster
        self._failure_kind = failure_kind
        self._lost_after_s = lost_after_s
        self._loop_thread = LoopThread("voxgate-ray-calls", _SUBSYSTEM)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        """The running calls; on the loop's thread."""
        self._n_answers = 0
        self._look_now = threading.Event()
        self._seen_s = time.monotonic()
        """When the cluster last answered."""
        self._version = ""
        self._facts: bytes | None = None

    def run(self) -> None:
        """Until the server sends Quit. Raises ChannelClosed."""
        spawn_thread(self._watch, "voxgate-ray-status", daemon=True, subsystem=_SUBSYSTEM)
        spawn_thread(self._leave_when_lost, "voxgate-ray-lost", daemon=True, subsystem=_SUBSYSTEM)
        loop = self._loop_thread.loop
        while not isinstance(message := self._channel.receive(), Quit):
            match message:
                case Call():
                    loop.call_soon_threadsafe(self._begin, message)
                case Cancel(number):
                    loop.call_soon_threadsafe(self._cancel, number)
                case Forget():
                    loop.call_soon_threadsafe(self._forget, message)

    # --- calls, on the loop's thread ---

    def _begin(self, call: Call) -> None:
        self._tasks[call.number] = spawn_task(self._run(call), "ray-call", _SUBSYSTEM)

    def _cancel(self, number: int) -> None:
        if number in self._tasks:
            # A task that is cancelled before its first step would never answer; that step is in the loop's queue.
            asyncio.get_running_loop().call_soon(self._tasks[number].cancel)

    def _forget(self, message: Forget) -> None:
        with contextlib.suppress(Exception):  # They expire by themselves.
            self._cluster.forget(message)

    async def _run(self, call: Call) -> None:
        number = call.number
        try:
            async for answer in self._cluster.run(call):
                self._channel.send(Answered(number, answer))
            self._n_answers += 1
        except asyncio.CancelledError:
            self._channel.send(Failed(number, "cancelled", ""))
        except ChannelClosed:
            raise
        except BaseException as error:
            kind, text = self._failure_kind(error)
            self._channel.send(Failed(number, kind, text))
            self._look_now.set()
        finally:
            del self._tasks[number]

    # --- the cluster, on threads of their own ---

    def _watch(self) -> None:
        while True:
            status = self._look()
            with contextlib.suppress(ChannelClosed):
                self._channel.send(status)
            self._look_now.wait(_LOOK_EVERY_S)
            self._look_now.clear()

    def _look(self) -> Status:
        try:
            replicas, version, reason = self._cluster.look()
            self._seen_s = math.inf  # Until the replicas, which are asked now, have answered or not.
            if replicas and version != self._version:
                facts = self._cluster.find()
                if facts != self._facts:
                    self._channel.send(msgspec.msgpack.decode(facts, type=Facts))
                self._version, self._facts = version, facts
            if replicas and not self._tasks:
                self._ping(replicas)
        except Exception as error:
            return Status(0, self._failure_kind(error)[1])
        finally:
            if self._seen_s == math.inf:
                self._seen_s = time.monotonic()
        return Status(replicas, "" if replicas else reason)

    def _ping(self, replicas: int) -> None:
        """Raises the last failure when none of the replicas answers. Serve may name one that is dead."""
        for n_left in range(replicas, -1, -1):
            try:
                return self._cluster.ping()
            except Exception as error:
                if not n_left or isinstance(error, TimeoutError):
                    raise

    def _leave_when_lost(self) -> None:
        while True:
            left_s = min(self._seen_s - time.monotonic(), 0.0) + self._lost_after_s
            if left_s <= 0:
                with contextlib.suppress(ChannelClosed):
                    self._channel.send(Unable(f"the Ray cluster has not answered for {self._lost_after_s:g} s"))
                leave(1)
            time.sleep(left_s)
