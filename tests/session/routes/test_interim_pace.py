"""How often interim results of running calls are sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.scheduler_bench import Bench
from voxgate.inference.engine.base import Job
from voxgate.protocol.output import Output
from voxgate.session.routes.interim_pace import InterimPace


class Client(Bench):
    """What a client gets, and when."""

    def __init__(self, per_s: float) -> None:
        super().__init__()
        self.sent: list[tuple[float, Job, Any]] = []
        self.pace = InterimPace(per_s, self.scheduler)

    def send(self, job: Job, output: Output) -> None:
        self.sent.append((round(self.now_s - 100, 3), job, output["n"]))

    def offer(self, job: Job, n: int) -> None:
        self.pace.offer(job, Output.of({"n": n}), self.send)


def a_job() -> Job:
    return Job(np.zeros(1, np.float32), 16_000, True, None, lambda job: None)


def test_the_first_comes_at_once_and_the_newest_of_the_others_when_it_is_due() -> None:
    client, job = Client(10), a_job()
    for n in range(5):
        client.offer(job, n)
    assert client.sent == [(0.0, job, 0)]
    client.wait(0.1)
    assert client.sent[1:] == [(0.1, job, 4)]
    client.wait(0.05)
    client.offer(job, 5)
    client.wait(0.05)
    assert client.sent[2:] == [(0.2, job, 5)]
    client.wait(1.0)
    client.offer(job, 6)
    assert client.sent[3:] == [(1.2, job, 6)]


def test_the_calls_of_a_client_share_its_pace_and_take_turns() -> None:
    client, jobs = Client(10), [a_job(), a_job(), a_job()]
    for n in range(2):
        for job in jobs:
            client.offer(job, n)
    for _ in range(4):
        client.wait(0.1)
    assert client.sent == [(0.0, jobs[0], 0), (0.1, jobs[1], 1), (0.2, jobs[2], 1), (0.3, jobs[0], 1)]


@pytest.mark.parametrize("how", ["forget", "stop"])
def test_nothing_follows_when_the_call_or_the_session_is_over(how: str) -> None:
    client, job = Client(10), a_job()
    client.offer(job, 0)
    client.offer(job, 1)
    if how == "forget":
        client.pace.forget(job)
    else:
        client.pace.stop()
    client.wait(1.0)
    assert client.sent == [(0.0, job, 0)]
