"""What tests on a cluster use: a server's engine on it, and models deployed there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from helpers import cluster_models as does
from tools.ray_nodes import deploy
from voxgate.inference.engine.base import Job, State
from voxgate.inference.engine.ray import RayEngine, RaySettings
from voxgate.inference.scheduler import Scheduler
from voxgate.runtime.loop_thread import LoopThread

__all__ = ["WAIT_S", "Edge", "put", "until"]

WAIT_S = 120
"""How long a test waits before it gives up; nothing takes that long."""


class Edge:
    """A scheduler with an engine on the cluster, as one server has it. Any thread."""

    def __init__(self, deadline_s: float = 60.0, **settings: Any) -> None:
        self._deadline_s = deadline_s
        defaults = {"address": "127.0.0.1:6379", "restart_backoff_s": 0.2, "lost_after_s": 10.0}
        self.engine = RayEngine(RaySettings(**{**defaults, **settings}))
        self.engine.load()
        self._thread = LoopThread("edge", "tests")
        self.scheduler: Scheduler = self._on_loop(self._start)
        self.ended: dict[Job, threading.Event] = {}

    def job(
        self,
        what: int = does.COUNT,
        n_samples: int = 8,
        final: bool = True,
        on_ended: Callable[[Job], None] = lambda job: None,
        **more: Any,
    ) -> Job:
        """A job that was submitted."""
        audio = np.zeros(n_samples, np.float32)
        audio[0] = what
        ended = threading.Event()

        def end(job: Job) -> None:
            on_ended(job)
            ended.set()

        made = Job(audio, 8_000, final, object(), end, **more)
        self.ended[made] = ended
        self._on_loop(lambda: self.scheduler.submit(made))
        return made

    def outcome(self, job: Job) -> Any:
        """Waits for the result or the error of a job."""
        assert self.ended[job].wait(WAIT_S), f"no answer: {self.engine.counts()}"
        return job.error if job.error is not None else job.result

    def one(self, what: int = does.COUNT, **more: Any) -> Any:
        return self.outcome(self.job(what, **more))

    def step(self, state: State, what: int = does.COUNT, n_samples: int = 8) -> Any:
        return self.one(what, n_samples=n_samples, method="step", state=state)

    def on_loop(self, call: Callable[[], Any]) -> Any:
        return self._on_loop(call)

    def close(self) -> bool:
        self._on_loop(self.scheduler.close)
        stopped = self._thread.run(self.scheduler.wait_closed(10), "close")
        self._thread.stop(10)
        assert self.scheduler.pending == 0
        assert self.engine.driver_pid == 0
        return bool(stopped)

    def _start(self) -> Scheduler:
        scheduler = Scheduler(self.engine, asyncio.get_running_loop(), deadline_s=self._deadline_s)
        scheduler.start()
        return scheduler

    def _on_loop(self, call: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return call()

        return self._thread.run(run(), "edge")


def until(is_so: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """Waits until something that shows nowhere else becomes true."""
    end_s = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < end_s, "it never became true"
        time.sleep(0.05)
    return found


def put(
    model: str,
    directory: Path,
    *more: str,
    replicas: str = "2",
    address: str = "127.0.0.1:6379",
    **options: Any,
) -> None:
    """Deploys a model of `cluster_models`, with this directory."""
    sets = [f"--set=model.{name}={value}" for name, value in {"directory": directory, **options}.items()]
    deploy(f"helpers.cluster_models:{model}", "--replicas", replicas, "--cpus", "0.5", *sets, *more, address=address)
